"""Values of people and secrets hidden in whatever leaves the console: exports, evidence bundles, and pages for those who may
not see them.

Which values: those of fields whose names match ``RETL["MASKED_FIELDS"]``, in payload and warehouse row, at any depth; the
same values wherever they occur in the entry's other texts; and what looks like an e-mail address, an IBAN or a card number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from dlq.services import documents, masking_texts
from dlq.services.documents import Document
from dlq.services.masking_rules import HIDDEN, Names, is_secret, shape
from dlq.services.masking_texts import TEXT_CAP, VALUES_CAP, Pairs, Present, mask_text, mask_texts, without_emails

__all__ = ["DOCUMENTS", "Masker", "Pairs", "mask_entry", "mask_text", "masker"]

DOCUMENTS = ("payload", "source_row")  # JSON of an entry; all its other texts are plain
_LABELS = ("name", "property", "field", "key", "label", "column")  # {"name": "phone", "value": "..."}

_MEMBER = re.compile(
    r'(?P<start>"(?P<name>[^"\\]{1,100})"\s{0,3}:\s{0,3})(?P<value>"(?:[^"\\]|\\.){0,4000}"?|-?\d[\d.eE+-]{0,40})', re.S
)


def masker() -> Masker:
    return Masker(Names(settings.RETL["MASKED_FIELDS"]))


class Masker:
    """Masks any number of entries; make one for a file. Equal values get equal masks."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def hides(self, path: str) -> bool:
        """Whether the values at this path (names joined by dots) are masked."""
        parents = ["", *documents.split(path)]
        return any(self.names.hides(name, parent) for parent, name in itertools.pairwise(parents))

    def entry(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The texts of one entry by column name, masked: ``DOCUMENTS`` as JSON, the others as plain text."""
        masked, found = self.parsed(texts)
        return masked | {name: "" if document is None else document.text() for name, document in found.items()}

    def text(self, text: str, pairs: Pairs) -> str:
        """One plain text, without the values of ``pairs``, however many, and of fields that it names in JSON of its own."""
        text = self._members(text)
        for part in masking_texts.parts(pairs):
            text = mask_text(text, part)
        return text

    def parsed(
        self, texts: Mapping[str, str], *, documents: Collection[str] = DOCUMENTS, pairs: Pairs | None = None
    ) -> tuple[dict[str, str], dict[str, Document | None]]:
        """(plain texts, masked documents). A document that cannot be read is hidden as a whole; an empty text is None.

        ``documents``: names of the texts that are JSON. What is hidden in one of them is hidden in all texts. ``pairs``: what
        is hidden anyhow; it takes in what is found.
        """
        pairs = {} if pairs is None else pairs
        walked = {name: self._walked(texts[name], pairs) for name in documents if name in texts}
        plain = {name: self._members(text) for name, text in texts.items() if name not in walked}
        if pairs:
            _hide_again([one for one in walked.values() if one is not None], pairs)
        found = {name: None if one is None else one.finished() for name, one in walked.items()}
        return mask_texts(plain, pairs), found

    def _members(self, text: str) -> str:
        """Hidden fields in JSON that stands within a text, be it cut off: an answer that repeats the record, or another one."""
        if '":' not in text and '" :' not in text:
            return text
        return _MEMBER.sub(self._member, text[:TEXT_CAP]) + text[TEXT_CAP:]

    def _member(self, found: re.Match[str]) -> str:
        if not self.names.hides(found["name"]):
            return found[0]
        value = found["value"].strip('"')
        return f'{found["start"]}"{HIDDEN if is_secret(found["name"]) else shape(value)}"' if value else found[0]

    def _walked(self, text: str, pairs: Pairs) -> _Walked | None:
        if not text:
            return None
        document = documents.parse(text)
        if document is None:
            document = Document(f"{HIDDEN} ({len(text):,} characters that cannot be read as JSON)", True)
            return _Walked(document, {"": document.value})
        walked = _Walked(document, {"": document.value})  # so that a document that is one bare value is looked at as well
        self._walk(walked, pairs)
        return walked

    def _walk(self, walked: _Walked, pairs: Pairs) -> None:
        """Hide in place, without recursion; gather what was hidden, and where values stand that were not."""
        hides = self.names.hides
        waiting: list[tuple[Any, str, bool]] = [(walked.top, "", False)]
        while waiting:
            container, name, is_hidden = waiting.pop()
            if type(container) is list:
                for index, value in enumerate(container):
                    if type(value) is dict or type(value) is list:
                        waiting.append((value, name, is_hidden))
                    elif is_hidden:
                        _hide(container, index, value, name, pairs)
                    else:
                        walked.leave(container, index, value)
                continue
            label = _label(container)
            hides_value = bool(label) and hides(label, name)
            names = "".join(container)
            if "@" in names or "%40" in names:
                _rename(container)
            for key, value in container.items():
                is_mine = is_hidden or hides(key, name) or (hides_value and key.lower() == "value")
                if type(value) is dict or type(value) is list:
                    waiting.append((value, label if hides_value else key, is_mine))
                elif is_mine:
                    _hide(container, key, value, label if hides_value else key, pairs)
                else:
                    walked.leave(container, key, value)


def _hide(container: Any, place: Any, value: Any, name: str, pairs: Pairs) -> None:
    if value is not None and value is not True and value is not False and value != "":
        text = documents.cell(value)
        pairs[text] = container[place] = HIDDEN if is_secret(name) else pairs.get(text) or shape(text)


@dataclass(slots=True)
class _Walked:
    """A document whose hidden fields are masked. ``texts``, ``numbers``: (container, place, value) of all the others."""

    document: Document
    top: dict[str, Any]
    texts: list[tuple[Any, Any, str]] = field(default_factory=list)
    numbers: list[tuple[Any, Any, Any]] = field(default_factory=list)

    def leave(self, container: Any, place: Any, value: Any) -> None:
        if type(value) is str:
            if "@" in value or "%40" in value:
                value = container[place] = without_emails(value)
            if value:
                self.texts.append((container, place, value))
        elif value is not None and value is not True and value is not False:
            self.numbers.append((container, place, value))

    def finished(self) -> Document:
        self.document.value = self.top[""]
        return self.document


def _hide_again(walked: Sequence[_Walked], pairs: Pairs) -> None:
    """The hidden values where they stand under other names."""
    is_many = len(pairs) > VALUES_CAP  # then only values that are equal as a whole
    found: Present = []
    if not is_many:
        found = masking_texts.present(pairs, "\0".join([text for one in walked for _c, _p, text in one.texts]).lower())
    if found or is_many:
        equal = {value.lower(): mask for value, mask in pairs.items()}
        for one in walked:
            for container, place, text in one.texts:
                mask = equal.get(text.lower())
                container[place] = mask or (masking_texts.replaced(text, found) if found else text)
    known = {} if is_many else masking_texts.compact(pairs)
    for one in walked:
        for container, place, value in one.numbers:
            text = documents.cell(value)
            mask = pairs.get(text)
            if mask is None and known and len(text) >= 7:
                mask = masking_texts.number(text, known)
            if mask is not None and mask != text:
                container[place] = mask


def mask_entry(texts: Mapping[str, str], *, using: Masker | None = None) -> dict[str, str]:
    """The texts of one entry (column name -> text), masked. Keys are those of ``DLQEntry``'s text fields."""
    return (using or masker()).entry(texts)


def _label(container: dict[str, Any]) -> str:
    """The field that an object of the form {"name": "phone", "value": "..."} speaks of; "" where it is none."""
    if "value" not in container and "Value" not in container:
        return ""
    for key, value in container.items():
        if key.lower() in _LABELS and type(value) is str:
            return value
    return ""


def _rename(container: dict[str, Any]) -> None:
    """An object whose members are named by e-mail addresses. Names that become equal are numbered: no member is lost."""
    members = list(container.items())
    container.clear()
    for name, value in members:
        hidden = without_emails(name)
        number = 1
        while hidden in container:
            number += 1
            hidden = f"{without_emails(name)} ({number})"
        container[hidden] = value
