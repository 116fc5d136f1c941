"""An error rule as people write it: the fields of the form, read into a draft and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.utils.dateparse import parse_datetime

from syncs.choices import ConnectionRole
from syncs.connectors import Issue
from syncs.destinations import registry
from syncs.destinations.ruled import ASSIGNABLE
from syncs.errors import ErrorType
from syncs.models import Connection, ErrorRule
from syncs.services import error_rules
from syncs.services.error_rules import Draft, Place, RuleRefusedError

FIELDS = ("name", "statuses", "codes", "text", "error_type", "is_permanent", "advice", "is_enabled")
PERMANENCE = (
    ("", "As the error type says"),
    ("yes", "Permanent: the row waits for a person"),
    ("no", "Transient: it is tried again"),
)
_LONGEST = 20_000  # characters of one field that are looked at
_OF_FLAG = {None: "", True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Written:
    """``values``: what was written, field by field, for the form. ``draft``: None where the place is unknown."""

    draft: Draft | None
    values: Mapping[str, str]
    issues: list[Issue] = field(default_factory=list)
    seen_at: datetime | None = None

    @property
    def problems(self) -> dict[str, str]:
        """Field -> sentence; the first of each."""
        return {issue.field: issue.message for issue in reversed(self.issues)}


def place(values: Mapping[str, str]) -> Place | None:
    """Named by ``connection`` (an id) or ``kind``. None where there is no such destination."""
    number = values.get("connection", "").strip()
    if number:
        pk = int(number) if number.isascii() and number.isdigit() and len(number) <= 18 else 0
        found = Connection.objects.defer("secrets", "config").filter(pk=pk, role=ConnectionRole.DESTINATION).first()
        return Place(found) if found is not None else None
    kind = values.get("kind", "").strip()
    return Place(kind=kind) if kind in dict(registry.kinds()) else None


def chosen(connection_id: int | None, kind: str) -> Place:
    """Named by one of the two. Raises ``RuleRefusedError``."""
    if bool(connection_id) == bool(kind):
        text = "Give the connection or the kind that the rules are for, and not both."
        raise RuleRefusedError(text, [Issue("connection", text)])
    found = place({"connection": str(connection_id)} if connection_id else {"kind": kind})
    if found is None:
        text = "There is no such destination."
        raise RuleRefusedError(text, [Issue("connection" if connection_id else "kind", text)])
    return found


def read(values: Mapping[str, str], where: Place, *, pk: int | None = None) -> Written:
    """With all that is wrong named. A box that is not ticked is not sent, so ``is_enabled`` is off where it is absent."""
    given = {name: _lines_as_on_unix(values.get(name, "")[:_LONGEST]) for name in FIELDS}
    issues: list[Issue] = []
    statuses = []
    for part in re.split(r"[\s,;]+", given["statuses"].strip()):
        if part.isascii() and part.isdigit() and len(part) <= 3:
            statuses.append(int(part))
        elif part:
            issues.append(Issue("statuses", f"“{part[:20]}” is no HTTP status. Write numbers such as 400, 422."))
    permanent = {"yes": True, "no": False, "": None}
    if given["is_permanent"] not in permanent:
        issues.append(Issue("is_permanent", "Choose one of the list."))
    draft = Draft(
        where,
        name=given["name"],
        statuses=tuple(statuses),
        codes=tuple(code.strip() for code in given["codes"].splitlines() if code.strip()),
        text=given["text"].strip(),
        error_type=given["error_type"],
        is_permanent=permanent.get(given["is_permanent"]),
        advice=given["advice"],
        is_enabled=bool(given["is_enabled"]),
        pk=pk,
    )
    found = [
        *issues,
        *(issue for issue in error_rules.issues(draft) if not (issues and issue.message == error_rules.NO_CONDITION)),
    ]
    return Written(draft, given, found, parse_moment(values.get("seen_at", "")))


def _lines_as_on_unix(text: str) -> str:
    """A browser ends lines otherwise."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def fresh(values: Mapping[str, str], where: Place) -> Written:
    """A new rule's form, prefilled by what an address names; nothing is held against it yet."""
    given = {name: values.get(name, "")[:_LONGEST] for name in FIELDS}
    if given["error_type"] not in ASSIGNABLE:
        given["error_type"] = ErrorType.VALIDATION.value
    return Written(Draft(where), {**given, "is_enabled": "1"})


def stored(rule: ErrorRule) -> Written:
    """The form of a saved rule."""
    draft = Draft.of(rule)
    return Written(draft, as_values(draft), seen_at=rule.updated_at)


def as_values(draft: Draft) -> dict[str, str]:
    return {
        "name": draft.name,
        "statuses": ", ".join(map(str, draft.statuses)),
        "codes": "\n".join(draft.codes),
        "text": draft.text,
        "error_type": str(draft.error_type),
        "is_permanent": _OF_FLAG[draft.is_permanent],
        "advice": draft.advice,
        "is_enabled": "1" if draft.is_enabled else "",
    }


def with_issues(written: Written, issues: list[Issue]) -> Written:
    return replace(written, issues=[*written.issues, *issues])


def error_types() -> list[tuple[str, str, bool]]:
    """(value, label, whether permanent) of what a rule may give, by label."""
    return sorted(((one.value, one.info.label, one.info.is_permanent) for one in ASSIGNABLE), key=lambda one: one[1])
