"""Values of people and secrets hidden in whatever leaves the console: exports, evidence bundles, and pages for those who may
not see them.

Which values: those of fields whose names match ``RETL["MASKED_FIELDS"]``, in payload and warehouse row, at any depth; the
same values wherever they occur in the entry's other texts; and what looks like an e-mail address, an IBAN or a card number.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

from django.conf import settings

from dlq.services import documents, masking_texts
from dlq.services.documents import Document
from dlq.services.masking_rules import HIDDEN, Names, is_secret, shape
from dlq.services.masking_texts import TEXT_CAP, VALUES_CAP, Pairs, mask_text, mask_texts, without_emails

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
        found: dict[str, Document | None] = {}
        for name in documents:
            if name in texts:
                found[name] = self._hidden(texts[name], pairs)
        plain = {name: self._members(text) for name, text in texts.items() if name not in found}
        for document in found.values():
            if document is not None and pairs:
                self._replace_in(document, pairs)
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

    def _hidden(self, text: str, pairs: Pairs) -> Document | None:
        if not text:
            return None
        document = documents.parse(text)
        if document is None:
            return Document(f"{HIDDEN} ({len(text):,} characters that cannot be read as JSON)", True)
        top = {"": document.value}  # so that a document that is one bare value is looked at as well
        self._walk(top, pairs)
        document.value = top[""]
        return document

    def _walk(self, top: dict[str, Any], pairs: Pairs) -> None:
        """Hide in place, without recursion; gather what was hidden."""
        hides = self.names.hides
        waiting: list[tuple[Any, str, bool]] = [(top, "", False)]
        while waiting:
            container, name, is_hidden = waiting.pop()
            if type(container) is list:
                for index, value in enumerate(container):
                    if type(value) is dict or type(value) is list:
                        waiting.append((value, name, is_hidden))
                    else:
                        self._visit(container, index, value, name, is_hidden, pairs)
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
                elif is_mine or type(value) is str:
                    self._visit(container, key, value, label if hides_value else key, is_mine, pairs)

    def _visit(self, container: Any, place: Any, value: Any, name: str, is_hidden: bool, pairs: Pairs) -> None:
        if is_hidden:
            if value is not None and value is not True and value is not False and value != "":
                text = documents.cell(value)
                pairs[text] = container[place] = HIDDEN if is_secret(name) else pairs.get(text) or shape(text)
        elif type(value) is str and ("@" in value or "%40" in value):
            container[place] = without_emails(value)

    def _replace_in(self, document: Document, pairs: Pairs) -> None:
        """The hidden values again under other names, in one document."""
        is_many = len(pairs) > VALUES_CAP  # then only values that are equal as a whole
        lowered = document.text().lower()
        found = [] if is_many else masking_texts.present(pairs, lowered)
        known = {} if is_many else masking_texts.compact(pairs)
        if not is_many and not found and not any(digits in lowered for digits in known):
            return
        equal = {value.lower(): mask for value, mask in pairs.items()}
        waiting: list[Any] = [top := {"": document.value}]
        while waiting:
            container = waiting.pop()
            for place, value in container.items() if isinstance(container, dict) else enumerate(container):
                if isinstance(value, (dict, list)):
                    waiting.append(value)
                elif type(value) is str:
                    if value:
                        container[place] = equal.get(value.lower()) or (
                            masking_texts.replaced(value, found) if found else value
                        )
                elif value is not None and not isinstance(value, bool):
                    text = documents.cell(value)
                    mask = pairs.get(text) or (masking_texts.number(text, known) if len(text) >= 7 else text)
                    if mask != text:
                        container[place] = mask
        document.value = top[""]


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
