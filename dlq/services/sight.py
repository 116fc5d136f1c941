"""What the pages show of a dead letter: values of people masked for everybody, the rest as it is.

Pages are given masked copies, so that no template can show more. The row key stays: without it nobody could tell which row it
is. What colleagues wrote (notes, reasons) stays as they wrote it. ``reveals`` is the way to the true values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings

from dlq import fingerprint
from dlq.choices import EventKind
from dlq.models import DLQEntry, DLQEvent
from dlq.services import documents, masking
from dlq.services.attempts import Carried
from dlq.services.changes import Verdict
from dlq.services.live import Live
from dlq.services.masking import Masker
from dlq.services.masking_rules import HIDDEN
from dlq.services.payloads import FieldDiff

Put = Callable[[str], None]
_PLAIN = ("message", "response_excerpt", "request_id")
_DOCUMENTS = ("payload", "source_row")


def masker() -> Masker | None:
    """None: the house shows values on pages (``RETL["MASK_PAGES"]``)."""
    return masking.masker() if settings.RETL.get("MASK_PAGES", True) else None


def message(text: str, *, is_known: bool) -> str:
    """A destination's sentence, before the values that are known are taken out of it. ``is_known``: the payload or row that it
    speaks of is at hand. Else what is quoted in it, or looks like a value, is left away, as in the title of a group."""
    return text if is_known else fingerprint.masked(text)


def hides(*payloads: str) -> bool:
    """Whether a page hides anything of these documents."""
    found = masker()
    return found is not None and any(_is_changed(text, found.entry({"payload": text})["payload"]) for text in payloads if text)


def masked(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts of one entry, by the names of its columns, as a page shows them. What nothing is hidden of stays byte for byte."""
    found = masker()
    shown = found.entry(texts) if found else {}
    return {name: shown[name] if found and _is_changed(text, shown[name]) else text for name, text in texts.items()}


def _is_changed(text: str, shown: str) -> bool:
    """Of a document: whether more than its spaces. A document that cannot be read has been hidden as a whole."""
    if shown == text:
        return False
    document = documents.parse(text)
    return document is None or document.text() != shown


class Sight:
    """One dead letter as a page shows it. Gather everything that is shown with it, then ``close``: what is hidden in one text
    is hidden in all of them. ``using`` None: all of it is shown as it is.
    """

    def __init__(self, entry: DLQEntry, *, using: Masker | None) -> None:
        self._masker = using
        self._documents: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        self._puts: dict[str, Put] = {}
        self.is_hiding = False
        self.entry = copy.copy(entry)  # never to be saved
        known = [documents.parse(text) is not None for text in (entry.payload, entry.source_row) if text]
        self._is_known = bool(known) and all(known)
        self._failed_with = entry.message
        for name in _DOCUMENTS:
            self._document(getattr(entry, name), partial(setattr, self.entry, name))
        for name in _PLAIN:
            value = getattr(entry, name)
            gather = self._answer if name == "response_excerpt" else self._text
            gather(self._of_failure(value) if name == "message" else value, partial(setattr, self.entry, name))

    # -- what is shown beside the entry

    def live(self, live: Live | None) -> Callable[[], Live | None]:
        """Returns what to call once it is closed."""
        if live is None:
            return lambda: None
        found: dict[str, str] = {}
        for name in ("row", "payload"):
            self._document(getattr(live, name), partial(found.__setitem__, name))
        self._text(live.refused, partial(found.__setitem__, "refused"))
        return lambda: replace(live, **found)  # type: ignore[arg-type]

    def verdict(self, verdict: Verdict) -> Callable[[], Verdict]:
        found: dict[str, str] = {}
        self._text(verdict.headline, partial(found.__setitem__, "headline"))
        self._text(verdict.advice, partial(found.__setitem__, "advice"))
        return lambda: replace(verdict, **found)  # type: ignore[arg-type]

    def diff(self, lines: Iterable[FieldDiff]) -> Callable[[], list[FieldDiff]]:
        kept = []
        for line in lines:
            found: dict[str, str | None] = {"before": line.before, "after": line.after}
            for side in ("before", "after"):
                self._value(line.field, found[side], partial(found.__setitem__, side))
            kept.append((line, found))
        return lambda: [replace(line, **found) for line, found in kept]  # type: ignore[arg-type]

    def event(self, event: DLQEvent) -> DLQEvent:
        """A copy, filled when it is closed."""
        shown = copy.copy(event)
        shown.detail = detail = dict(event.detail)
        said = detail.get("message")
        if isinstance(said, str):
            self._text(self._of_failure(said), partial(detail.__setitem__, "message"))
        fields = detail.get("fields")
        if event.kind == EventKind.EDITED and isinstance(fields, list):
            detail["fields"] = [self._line(line) for line in fields if isinstance(line, list) and len(line) == 3]
        return shown

    def _line(self, line: Sequence[Any]) -> list[Any]:
        """Of a correction, as the history keeps it: field, before, after."""
        kept = list(line)
        for place in (1, 2):
            value = line[place] if isinstance(line[place], str) else None
            self._value(str(line[0]), value, partial(kept.__setitem__, place))
        return kept

    def carried(self, steps: Iterable[Carried]) -> list[Carried]:
        return [replace(step, attempts=[self._attempt(attempt) for attempt in step.attempts]) for step in steps]

    def _attempt(self, attempt: Mapping[str, Any]) -> dict[str, Any]:
        shown = dict(attempt)
        for name in ("request", "message", "excerpt"):
            text = attempt.get(name)
            if not isinstance(text, str):
                continue
            put = partial(shown.__setitem__, name)
            if name == "excerpt":
                self._answer(text, put, is_batch=attempt.get("row_count") != 1)
            else:
                self._text(text, put)
        return shown

    # -- gathering

    def _of_failure(self, text: str) -> str:
        """What a run wrote of the row. An older failure may speak of values that are in no document any more."""
        is_known = self._is_known and text[:300] == self._failed_with[:300]
        said = message(text, is_known=is_known or self._masker is None)
        self.is_hiding = self.is_hiding or said != text
        return said

    def _text(self, text: str, put: Put) -> None:
        if text:
            self._add(self._plain, text, put)

    def _document(self, text: str, put: Put) -> None:
        if text:
            self._add(self._documents, text, put)

    def _answer(self, text: str, put: Put, *, is_batch: bool = False) -> None:
        """Of a destination: JSON by the names of its fields, else a text. The answer to a batch speaks of other rows, too:
        where it was cut, nothing says whose values it holds."""
        is_json = text.lstrip()[:1] in ("{", "[")
        if is_json and documents.parse(text) is not None:
            self._document(text, put)
        elif is_json and is_batch and self._masker is not None:
            self.is_hiding = True
            put(f"{HIDDEN} ({len(text):,} characters of an answer about several rows)")
        else:
            self._text(text, put)

    def _value(self, path: str, text: str | None, put: Put) -> None:
        """A JSON value by its path in a payload."""
        if not text or self._masker is None:
            return
        if documents.parse(text) is None:  # cut short
            if self._masker.hides(path) or text[:1] in ("{", "["):
                self.is_hiding = True
                put(HIDDEN)
            else:
                self._text(text, put)
            return
        names = documents.split(path)
        opened = "".join(f"{{{documents.quoted(name)}:" for name in names)
        self._document(f"{opened}{text}{'}' * len(names)}", lambda shown: put(_innermost(shown, len(names))))

    def _add(self, to: dict[str, str], text: str, put: Put) -> None:
        name = str(len(self._puts))
        to[name] = text
        self._puts[name] = put

    def close(self) -> None:
        """Fill in what was gathered."""
        if self._masker is None:
            return
        plain, found = self._masker.parsed({**self._documents, **self._plain}, documents=tuple(self._documents))
        for name, document in found.items():
            text, shown = self._documents[name], document.text() if document else ""
            if _is_changed(text, shown):
                self.is_hiding = True
                self._puts[name](shown)
        for name, shown in plain.items():
            self.is_hiding = self.is_hiding or shown != self._plain[name]
            self._puts[name](shown)


def _innermost(text: str, depth: int) -> str:
    document = documents.parse(text)
    value = document.value if document else text
    for _ in range(depth):
        value = next(iter(value.values())) if isinstance(value, dict) and value else value
    return documents.Document(value, document.is_plain if document else True).text()
