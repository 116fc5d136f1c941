"""Which column most likely belongs to which destination field, judged by names and by what the column's values are. Pure.

Names are compared as words: ``FirstName``, ``first_name``, ``FIRST NAME`` and ``firstname`` are one name, and so are words that
mean the same (``mail`` and ``email``, ``zip`` and ``postal code``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz, process

from syncs.choices import FieldType

THRESHOLD = 82.0  # of 100; below it a guess costs a person more than it saves
_EXACT, _LABEL, _LAST_PART, _WITHOUT_NOISE, _OUR_ID = 100.0, 98.0, 95.0, 92.0, 84.0
_SHORTEST_FUZZY = 6  # letters; in shorter names one letter is the difference between two words
_FUZZY_CUTOFF = 88.0

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_SUFFIX = re.compile(r"__(c|pc|r|e)$", re.I)  # Salesforce marks custom fields so
# Each line: words that mean the same; the first one stands for all. A phrase is written without spaces.
_SAME = """
email mail emailaddress mailaddress emailaddr
phone telephone tel phonenumber telephonenumber phoneno
mobile cell cellphone mobilephone mobilenumber handy
id identifier uuid guid ident
externalid extid foreignid
firstname givenname forename fname first given
lastname surname familyname lname last family
fullname displayname
postalcode zip zipcode postcode plz
city town locality
state region province stateprovince
country nation
countrycode countryiso
street streetaddress addressline address1 addressline1
company organisation organization org companyname organizationname
title jobtitle position
website url homepage webpage site web
birthday birthdate dateofbirth dob born
createdat created createdate createddate creationdate createdon datecreated
updatedat updated updatedate modified modifiedat lastmodified lastmodifieddate modifieddate updatedon
signedupat signupdate signupat
amount amt
quantity qty
number num no nr
description descr desc
language lang locale
plan tier subscription
gender sex
notes note remark remarks comment comments
currency currencycode
status statuscode
tags tag labels
"""
_OF_ANY_RECORD = """
contact contacts customer customers user users account accounts person people member members client clients lead leads
profile subscriber src source dim fact raw current crm the my is has
"""
_NOISE = frozenset(_OF_ANY_RECORD.split())
# Words that keep their meaning within a longer name; “first” alone is a first name, in “first_order_at” it is not.
_ANYWHERE = """
email mail phone telephone tel mobile cell id identifier uuid guid ident zip zipcode postcode plz company organisation
organization org website url homepage birthday birthdate dob amount amt quantity qty number num nr description descr desc
language lang firstname lastname surname givenname fname lname
"""
_ALWAYS = frozenset(_ANYWHERE.split())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A column of the query. ``fits``: types of the mapping that all its known values can become; empty: nothing is known."""

    name: str
    fits: frozenset[FieldType] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A destination field that no line of the mapping fills yet. ``type``: None where nothing is known of it."""

    name: str
    label: str = ""
    type: FieldType | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``score``: up to 100."""

    field: str
    column: str
    score: float


def suggest(
    columns: Sequence[Candidate], fields: Sequence[Wanted], *, used: Collection[str] = (), threshold: float = THRESHOLD
) -> dict[str, Suggestion]:
    """Destination field -> its best column. Each column is suggested once, to the field that it fits best; columns in ``used``
    (mapped already) are not suggested at all."""
    free = [column for column in columns if column.name not in used]
    if not free:
        return {}
    names = [_names(column.name) for column in free]
    ranked = []
    for order, field in enumerate(fields):
        for place, score in _scores(field, names):
            if score >= threshold and _may_hold(field, free[place]):
                ranked.append((-score, order, place))
    found: dict[str, Suggestion] = {}
    taken: set[int] = set()
    for negative, order, place in sorted(ranked):
        name = fields[order].name
        if name not in found and place not in taken:
            taken.add(place)
            found[name] = Suggestion(name, free[place].name, round(-negative, 1))
    return found


@dataclass(frozen=True, slots=True)
class _Name:
    """``whole``: the name as one word, synonyms resolved; ``bare``: without words such as “contact”; ``digits`` of it."""

    whole: str
    bare: str
    digits: tuple[str, ...]


def _scores(field: Wanted, columns: Sequence[_Name]) -> Iterable[tuple[int, float]]:
    own, last = _names(field.name), _names(_last_part(field.name))
    label = _names(field.label) if field.label else None
    scores: dict[int, float] = {}
    for place, column in enumerate(columns):
        if own.whole == column.whole:
            scores[place] = _EXACT
        elif label is not None and label.whole == column.whole:
            scores[place] = _LABEL
        elif last.whole == column.whole:
            scores[place] = _LAST_PART
        elif own.whole == column.bare or own.bare == column.whole:
            scores[place] = _WITHOUT_NOISE
        elif own.whole == "externalid" and column.whole == "id":
            scores[place] = _OUR_ID
    if not scores and len(own.whole) >= _SHORTEST_FUZZY:
        near = process.extract(
            own.whole, [column.whole for column in columns], scorer=fuzz.ratio, score_cutoff=_FUZZY_CUTOFF, limit=3
        )
        for _text, score, place in near:
            if columns[place].digits == own.digits and len(columns[place].whole) >= _SHORTEST_FUZZY:
                scores[place] = min(score, _WITHOUT_NOISE - 1)  # never before what is equal but for noise
    return scores.items()


def _may_hold(field: Wanted, column: Candidate) -> bool:
    return field.type is None or not column.fits or field.type in column.fits


def _last_part(path: str) -> str:
    """``address.city`` is found by “city”, too."""
    return path.rsplit(".", 1)[-1]


@lru_cache(maxsize=20_000)
def _names(name: str) -> _Name:
    parts = words(_SUFFIX.sub("", name.removesuffix("[]")))
    bare = [part for part in parts if part not in _NOISE] or parts
    return _Name(_resolved(parts), _resolved(bare), tuple(part for part in parts if part.isdigit()))


def words(name: str) -> list[str]:
    """``billingStreet_2`` -> ["billing", "street", "2"]; accents are dropped."""
    plain = unicodedata.normalize("NFKD", name[:255])
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return [word.lower() for word in _WORD.findall(plain)]


def _table() -> dict[str, str]:
    return {word: line.split()[0] for line in _SAME.strip().splitlines() for word in line.split()}


_CANONICAL = _table()


def _resolved(parts: Sequence[str]) -> str:
    """The words joined, each run of them that has a synonym by the one that stands for it."""
    found: list[str] = []
    place = 0
    while place < len(parts):
        for size in range(min(3, len(parts) - place), 0, -1):
            joined = "".join(parts[place : place + size])
            if joined in _CANONICAL and (size > 1 or len(parts) == 1 or joined in _ALWAYS):
                found.append(_CANONICAL[joined])
                place += size
                break
        else:
            found.append(parts[place])
            place += 1
    return "".join(found)
