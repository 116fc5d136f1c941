"""Configuration documents as YAML: the same bytes for the same values, one line of difference for one change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from syncs.services.config_files.reading import CORE


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stand as blocks; whatever YAML 1.1 or 1.2 might take for something else stands in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def analyze_scalar(self, scalar: str) -> Any:
        """A block may also hold tabs and spaces at the ends of lines, as queries often do: its reader keeps both."""
        found: Any = super().analyze_scalar(scalar)
        if not all(character in "\t\n" or character.isprintable() for character in scalar):
            # Line separators of Unicode above all, which a reader takes for line ends: only escapes keep them.
            found.allow_flow_plain = found.allow_block_plain = found.allow_single_quoted = found.allow_block = False
        elif "\n" in scalar:
            found.allow_block = True
        return found


for _tag, _pattern, _first in CORE:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def write(documents: Iterable[Mapping[str, Any]]) -> str:
    """The documents in order, ``---`` between them. Keys keep their order; give it."""
    texts = [
        yaml.dump(
            dict(document), Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1_000_000
        )
        for document in documents
    ]
    return "---\n".join(texts)
