"""What a filled database looks like: causes of errors, names, syncs with groups, the runs of ninety days. Values only."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from syncs.errors import ErrorType

DAYS = 90
RUNS_A_DAY = 4
RUN_MINUTES = 10


class Cause(NamedTuple):
    """``message`` holds %(value)s where rows differ. ``codes``: HTTP statuses, the usual one first; None: no response."""

    error_type: ErrorType
    code: str
    message: str
    codes: tuple[int | None, ...]
    weight: float


CAUSES = (
    Cause(
        ErrorType.VALIDATION, "INVALID_EMAIL", 'Property values were not valid: email "%(value)s" is invalid', (400, 422), 30
    ),
    Cause(ErrorType.VALIDATION, "INVALID_OPTION", '"%(value)s" was not one of the allowed options of the field', (400,), 18),
    Cause(
        ErrorType.MISSING_REQUIRED,
        "REQUIRED_FIELD_MISSING",
        "Required fields are missing: LastName (row %(value)s)",
        (400,),
        14,
    ),
    Cause(ErrorType.DUPLICATE_KEY, "DUPLICATE_VALUE", "duplicate value found: it belongs to record %(value)s", (409, 400), 10),
    Cause(ErrorType.REFERENCE_NOT_FOUND, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id %(value)s", (404, 400), 8),
    Cause(ErrorType.MAPPING, "", "Cannot read “%(value)s” as a date", (None,), 6),
    Cause(ErrorType.VALIDATION, "STRING_TOO_LONG", "data value too large: %(value)s (max length=40)", (400,), 5),
    Cause(ErrorType.FIELD_PERMISSION, "INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: OwnerId", (403,), 3),
    Cause(ErrorType.TIMEOUT, "", "No answer within 30 seconds", (None, 504), 2),
    Cause(ErrorType.DESTINATION_UNAVAILABLE, "", "The destination answered 503: Service Unavailable", (503, 502), 2),
    Cause(ErrorType.RATE_LIMITED, "REQUEST_LIMIT_EXCEEDED", "Rate limit reached; request %(value)s", (429,), 1),
    Cause(ErrorType.UNKNOWN, "UNKNOWN_EXCEPTION", "An unexpected error occurred. Error id: %(value)s", (500,), 0.5),
    Cause(ErrorType.TOO_LARGE, "PAYLOAD_TOO_LARGE", "The record is larger than 1 MB", (413,), 0.1),
    Cause(ErrorType.UNKNOWN_OUTCOME, "", "The answer was lost after sending", (None,), 0.02),
)
FIELDS = ("email", "phone", "country", "stage", "birthday", "company", "amount", "lead_source", "postal_code", "website")
OBJECTS = ("contacts", "companies", "deals", "tickets", "invoices", "subscriptions", "orders", "events", "leads", "products")
DESTINATIONS = ("CRM", "Support desk", "Marketing", "Billing", "Field service")
FIRST = ("Ana", "Björn", "Chloé", "Dmitri", "Esi", "Farid", "Grace", "Hana", "Ivan", "José", "Kofi", "Lucía", "Mei", "Nils")
LAST = ("Øye", "Martin", "García", "Novak", "Owusu", "Haddad", "Kowalska", "Tanaka", "Silva", "O'Neil", "Brandt", "Nguyen")
CITIES = ("Lyon", "Kraków", "Accra", "São Paulo", "Osaka", "Leeds", "Malmö", "Hà Nội", "Austin", "Zürich")
STATUSES = (("open", 58.0), ("resolved", 26.0), ("discarded", 13.0), ("superseded", 3.0))
ROW_STATES = (("", 94.0), ("same", 3.0), ("changed", 2.0), ("gone", 1.0))


def object_name(number: int) -> str:
    return OBJECTS[number % len(OBJECTS)]


def destination_name(number: int) -> str:
    return DESTINATIONS[number // len(OBJECTS) % len(DESTINATIONS)]


@dataclass(slots=True)
class PlannedGroup:
    """An error group of a sync. It fails between ``since`` and ``until``, as parts of the whole time (0 to 1)."""

    cause: Cause
    field: str
    weight: float
    since: float
    until: float


@dataclass(slots=True)
class PlannedRun:
    sync: int  # position in the list of syncs
    started_at: datetime
    part: float  # of the whole time
    count: int = 0  # entries that it dead-lettered


def plan_groups(chance: random.Random) -> list[PlannedGroup]:
    """Eight to sixteen causes of one sync, a few of them frequent, some only for a time."""
    planned = []
    chosen = {(chance.choices(CAUSES, [cause.weight for cause in CAUSES])[0], chance.choice(FIELDS)) for _ in range(16)}
    for cause, field in sorted(chosen, key=lambda pair: (pair[0].message, pair[1])):
        since, until = 0.0, 1.0
        if chance.random() < 0.4:
            since = chance.random() * 0.9
            until = min(1.0, since + 0.05 + chance.random() * 0.4)
        planned.append(PlannedGroup(cause, field, cause.weight * chance.paretovariate(1.2), since, until))
    return planned


def plan_runs(chance: random.Random, *, syncs: int, entries: int, now: datetime) -> list[PlannedRun]:
    """The runs that dead-letter something, oldest first; their counts add up to ``entries``. More fail lately than long ago."""
    runs: list[tuple[PlannedRun, float]] = []
    sizes = [chance.paretovariate(1.0) for _ in range(syncs)]
    total = DAYS * RUNS_A_DAY
    for sync, size in enumerate(sizes):
        minute = timedelta(minutes=chance.randrange(60 * 24 // RUNS_A_DAY - RUN_MINUTES))
        for number in range(total):
            part = number / total
            started_at = now - timedelta(days=DAYS) + timedelta(days=DAYS) * part + minute
            if started_at + timedelta(minutes=RUN_MINUTES) < now:
                weight = min(size, 30) * (0.4 + part) * (0.3 + 1.4 * chance.random())
                runs.append((PlannedRun(sync, started_at, part), weight))
    runs.sort(key=lambda pair: pair[0].started_at)
    whole, reached, given = sum(weight for _run, weight in runs), 0.0, 0
    for run, weight in runs:
        reached += weight
        run.count = round(entries * reached / whole) - given
        given += run.count
    return [run for run, _weight in runs if run.count]


def texts(number: int) -> tuple[str, str]:
    """(warehouse row, payload) of one row as JSON text; about 800 bytes together."""
    first, last, city = FIRST[number % len(FIRST)], LAST[number % len(LAST)], CITIES[number % len(CITIES)]
    name = f'"first_name":"{first}","last_name":"{last}","email":"{number}@example.test","phone":"+49 30 {number:09d}"'
    amount, stage, is_active = f"{number % 9973}.{number % 100:02d}", f"s{number % 7}", "true" if number % 3 else "false"
    row = (
        f'{{"id":{number},{name},"city":"{city}","country":"xx","amount":{amount},"stage":"{stage}","lead_source":"web",'
        f'"created_at":"2026-0{number % 9 + 1}-1{number % 10}T08:00:00Z","is_active":{is_active}}}'
    )
    payload = (
        f'{{"properties":{{"external_id":"{number}",{name},'
        f'"address":{{"city":"{city}","country":"XX","postal_code":"{number % 99999:05d}"}},'
        f'"deal":{{"amount":"{amount}","currency":"EUR","stage":"{stage}","owner":"team-{number % 12}"}},'
        f'"lead_source":"web","lifecycle":"customer","newsletter":{is_active},'
        f'"comment":"Imported from the warehouse; last order {number % 365} days ago, segment {number % 17}."}}}}'
    )
    return row, payload


def excerpt(cause: Cause, field: str) -> str:
    return json.dumps({"status": "error", "category": cause.code or "ERROR", "errors": [{"in": field}]})
