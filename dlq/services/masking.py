"""Values of people and secrets hidden in whatever leaves the console: exports, evidence bundles, and pages for those who may
not see them.

Which values: those of fields whose names match ``RETL["MASKED_FIELDS"]``, in payload and warehouse row, at any depth; the
same values wherever they occur in the entry's other texts; and what looks like an e-mail address, an IBAN or a card number.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from django.conf import settings

from dlq.services import documents
from dlq.services.documents import Document
from dlq.services.masking_rules import HIDDEN, Names, email, is_secret, shape

DOCUMENTS = ("payload", "source_row")  # JSON of an entry; all its other texts are plain
TEXT_CAP = 100_000  # characters of a plain text that are searched; what lies beyond is left away
_VALUES_CAP = 300  # hidden values of one entry that are looked for in its texts; with more, the texts are hidden as a whole
_PREFIX = 60  # of a long value so many characters are looked for: texts often hold values cut off
_SHORT = 8  # a shorter value must stand by itself: "Mark" is not hidden in "Market"
_LABELS = ("name", "property", "field", "key", "label", "column")  # {"name": "phone", "value": "..."}

_EMAILS = re.compile(r"[\w.+!#$&'*/=?^`{|}~-]{1,64}(?:@|%40)(?=[\w.-]*\w)[\w.-]{1,255}", re.I)
_DIGITS = re.compile(r"(?<![\w.])\+?\d(?:[ ().\/-]{0,2}\d){6,18}(?!\w)")
_IBANS = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_MEMBER = re.compile(
    r'(?P<start>"(?P<name>[^"\\]{1,100})"\s{0,3}:\s{0,3})(?P<value>"(?:[^"\\]|\\.){0,4000}"?|-?\d[\d.eE+-]{0,40})', re.S
)
_NO_DIGIT = re.compile(r"[^0-9]+")

Pairs = dict[str, str]  # value -> its mask


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
        values = list(pairs.items()) or [("", "")]
        for start in range(0, len(values), _VALUES_CAP):
            text = mask_text(text, dict(values[start : start + _VALUES_CAP]))
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
        waiting: list[tuple[Any, str, bool]] = [(top, "", False)]
        while waiting:
            container, name, is_hidden = waiting.pop()
            if isinstance(container, list):
                for index, value in enumerate(container):
                    self._visit(container, index, value, name, is_hidden, pairs, waiting)
                continue
            label = _label(container)
            hides_value = bool(label) and self.names.hides(label, name)
            if any("@" in key or "%40" in key for key in container):
                _rename(container)
            for key, value in container.items():
                hides = is_hidden or self.names.hides(key, name) or (hides_value and key.lower() == "value")
                self._visit(container, key, value, label if hides_value else key, hides, pairs, waiting)

    def _visit(
        self, container: Any, place: Any, value: Any, name: str, is_hidden: bool, pairs: Pairs,
        waiting: list[tuple[Any, str, bool]],
    ) -> None:  # fmt: skip
        if isinstance(value, (dict, list)):
            waiting.append((value, name, is_hidden))
        elif is_hidden and value is not None and not isinstance(value, bool) and value != "":
            text = documents.cell(value)
            mask = HIDDEN if is_secret(name) else pairs.get(text) or shape(text)
            pairs[text] = container[place] = mask
        elif type(value) is str and ("@" in value or "%40" in value):
            container[place] = _EMAILS.sub(_email_of, value)

    def _replace_in(self, document: Document, pairs: Pairs) -> None:
        """The hidden values again under other names, in one document."""
        is_many = len(pairs) > _VALUES_CAP  # then only values that are equal as a whole
        lowered = document.text().lower()
        present, compact = ({}, {}) if is_many else (_present(pairs, lowered), _compact(pairs))
        if not is_many and not present and not any(digits in lowered for digits in compact):
            return
        waiting: list[Any] = [top := {"": document.value}]
        while waiting:
            container = waiting.pop()
            for place, value in container.items() if isinstance(container, dict) else enumerate(container):
                if isinstance(value, (dict, list)):
                    waiting.append(value)
                elif value is None or isinstance(value, bool):
                    continue
                elif is_many or type(value) is not str:
                    text = documents.cell(value)
                    mask = pairs.get(text) or (_number(text, compact) if len(text) >= 7 else text)
                    container[place] = value if mask == text else mask
                else:
                    container[place] = _replaced(value, present)
        document.value = top[""]


def mask_entry(texts: Mapping[str, str], *, using: Masker | None = None) -> dict[str, str]:
    """The texts of one entry (column name -> text), masked. Keys are those of ``DLQEntry``'s text fields."""
    return (using or masker()).entry(texts)


def mask_text(text: str, pairs: Pairs | None = None) -> str:
    """One plain text without the values of ``pairs`` and without e-mail addresses, IBANs and card numbers."""
    return mask_texts({"": text}, pairs or {})[""]


def mask_texts(texts: Mapping[str, str], pairs: Pairs) -> dict[str, str]:
    if len(pairs) > _VALUES_CAP:
        return {name: text and f"{HIDDEN} ({len(text):,} characters)" for name, text in texts.items()}
    cut = {name: text if len(text) <= TEXT_CAP else f"{text[:TEXT_CAP]}…" for name, text in texts.items()}
    joined = "\0".join(cut.values()).lower()
    present, compact = _present(pairs, joined), _compact(pairs)
    return {name: _generic(_replaced(text, present), compact) for name, text in cut.items()}


def _present(pairs: Pairs, lowered: str) -> Pairs:
    """Those that occur in this text, longest first, so that a part of a value does not spoil the whole of it."""
    found = [pair for pair in pairs.items() if any(form in lowered for form in _forms(pair[0], lowered))]
    return dict(sorted(found, key=lambda pair: -len(pair[0])))


def _compact(pairs: Pairs) -> Pairs:
    """The digits of hidden numbers, without leading zeros: a phone number is written in many ways."""
    found = {_digits(value).lstrip("0"): mask for value, mask in pairs.items()}
    return {digits: mask for digits, mask in found.items() if len(digits) >= 7}


def _generic(text: str, compact: Pairs) -> str:
    if "@" in text or "%40" in text:
        text = _EMAILS.sub(_email_of, text)
    if _DIGITS.search(text):
        text = _IBANS.sub(lambda found: shape(found[0]) if _is_iban(found[0]) else found[0], text)
        text = _DIGITS.sub(lambda found: _number(found[0], compact), text)
    return text


def _email_of(found: re.Match[str]) -> str:
    return found[0] if HIDDEN in found[0] else email(re.sub("%40", "@", found[0]))


def _number(text: str, compact: Pairs) -> str:
    """The mask where it is one of the hidden numbers, however written, or a card; else the text as it is."""
    digits = _digits(text)
    significant = digits.lstrip("0")
    if len(significant) >= 7:
        for known, mask in compact.items():
            if significant.endswith(known) or known.endswith(significant):
                return mask
    return f"*****{digits[-4:]}" if 13 <= len(digits) <= 19 and _is_card(digits) else text


def _is_card(digits: str) -> bool:
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(digits))]
    return digits[0] in "3456" and sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return len(plain) >= 15 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _digits(text: str) -> str:
    return _NO_DIGIT.sub("", text[:60])


def _forms(value: str, lowered: str) -> Iterator[str]:
    """How the value may stand in this text: as it is, in JSON, in an address, in HTML. Long ones by their beginning."""
    start = value[:_PREFIX]
    if len(start) < 2:
        return
    yield start.lower()
    if start.isascii() and start.isalnum():
        return
    if "\\" in lowered:
        yield documents.quoted(start)[1:-1].lower()
        yield _escaped(start)
    if "%" in lowered or (" " in start and "+" in lowered):
        encoded = start.encode("utf-8", "surrogatepass")
        yield from (quote(encoded, safe="").lower(), quote(encoded).lower(), quote_plus(encoded).lower())
    if "&" in lowered:
        yield html.escape(start).lower()


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1].lower()


def _replaced(text: str, pairs: Pairs) -> str:
    lowered = text.lower() if pairs else ""
    for value, mask in pairs.items():
        for form in _forms(value, lowered):
            if form in lowered:
                text = _without(text, form, value, mask)
                lowered = text.lower()
    return text


def _without(text: str, form: str, value: str, mask: str) -> str:
    alone = len(value) < _SHORT and value.isalnum()
    pattern = rf"(?<!\w){re.escape(form)}(?!\w)" if alone else re.escape(form)
    if len(value) <= _PREFIX:
        return re.sub(pattern, lambda _: mask, text, flags=re.I)
    rest = value[_PREFIX:]
    parts, end = [], 0
    for found in re.finditer(pattern, text, flags=re.I):
        if found.start() < end:
            continue
        parts += [text[end : found.start()], mask]
        end = found.end() + _common(text, found.end(), rest)
    return "".join([*parts, text[end:]])


def _common(text: str, start: int, rest: str) -> int:
    """How far the text goes on as the value does."""
    length = 0
    for one, other in zip(text[start : start + len(rest)], rest, strict=False):
        if one.lower() != other.lower():
            break
        length += 1
    return length


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
        hidden = _EMAILS.sub(_email_of, name)
        number = 1
        while hidden in container:
            number += 1
            hidden = f"{_EMAILS.sub(_email_of, name)} ({number})"
        container[hidden] = value
