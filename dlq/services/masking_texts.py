"""Hidden values looked for in texts, in any spelling; and what looks like an e-mail address, an IBAN or a card number there."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus

from dlq.services import documents
from dlq.services.masking_rules import HIDDEN, email, shape

TEXT_CAP = 100_000  # characters of a plain text that are searched; what lies beyond is left away
VALUES_CAP = 300  # hidden values of one entry that are looked for in its texts; with more, the texts are hidden as a whole
_PREFIX = 60  # of a long value so many characters are looked for: texts often hold values cut off
_SHORT = 8  # a shorter value must stand by itself: "Mark" is not hidden in "Market"
_SPECIAL = "\\%&"  # texts with one of these may hold values in another spelling

_EMAILS = re.compile(r"[\w.+!#$&'*/=?^`{|}~-]{1,64}(?:@|%40)(?=[\w.-]*\w)[\w.-]{1,255}", re.I)
_DIGITS = re.compile(r"(?<![\w.])\+?\d(?:[ ().\/-]{0,2}\d){6,18}(?!\w)")
_IBANS = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_NO_DIGIT = re.compile(r"[^0-9]+")

Pairs = dict[str, str]  # value -> its mask
Present = list[tuple[tuple[str, ...], str, str]]  # (spellings in lower case, value, mask)


def mask_text(text: str, pairs: Pairs | None = None) -> str:
    """One plain text without the values of ``pairs`` and without e-mail addresses, IBANs and card numbers."""
    return mask_texts({"": text}, pairs or {})[""]


def mask_texts(texts: Mapping[str, str], pairs: Pairs) -> dict[str, str]:
    """Several texts of one entry: looked through together, since most hold none of the values."""
    if len(pairs) > VALUES_CAP:
        return {name: text and f"{HIDDEN} ({len(text):,} characters)" for name, text in texts.items()}
    cut = {name: text if len(text) <= TEXT_CAP else f"{text[:TEXT_CAP]}…" for name, text in texts.items()}
    joined = "\0".join(cut.values())
    found = present(pairs, joined.lower())
    if found:
        cut = {name: replaced(text, found) for name, text in cut.items()}
    if "@" in joined or "%40" in joined:
        cut = {name: without_emails(text) for name, text in cut.items()}
    if _DIGITS.search(joined):
        known = compact(pairs)
        cut = {name: _without_numbers(text, known) for name, text in cut.items()}
    return cut


def without_emails(text: str) -> str:
    return _EMAILS.sub(_email_of, text) if "@" in text or "%40" in text else text


def _email_of(found: re.Match[str]) -> str:
    return found[0] if HIDDEN in found[0] else email(found[0].replace("%40", "@"))


# --- Values


def present(pairs: Pairs, lowered: str) -> Present:
    """Those that occur in this text, longest first, so that a part of a value does not spoil the whole of it."""
    is_special = any(sign in lowered for sign in _SPECIAL)
    has_plus = "+" in lowered  # a blank in an address
    found: Present = []
    for value, mask in pairs.items():
        start = value[:_PREFIX]
        low = start.lower()
        if len(start) < 2:
            continue
        spellings: tuple[str, ...] = (low,)
        if is_special or (has_plus and " " in low and low.replace(" ", "+") in lowered):
            spellings = _spellings(start, low)
        if low in lowered or (len(spellings) > 1 and any(one in lowered for one in spellings)):
            found.append((spellings, value, mask))
    return sorted(found, key=lambda one: -len(one[1]))


def _spellings(start: str, low: str) -> tuple[str, ...]:
    """How a value may stand in a text: as it is, in JSON, in an address, in HTML."""
    if low.isascii() and low.isalnum():
        return (low,)
    encoded = start.encode("utf-8", "surrogatepass")
    found = {
        documents.quoted(start)[1:-1],
        json.dumps(start)[1:-1],
        quote(encoded, safe=""),
        quote(encoded),
        quote_plus(encoded),
        html.escape(start),
    }
    return (low, *({one.lower() for one in found} - {low}))


def replaced(text: str, found: Present) -> str:
    low = text.lower()
    for spellings, value, mask in found:
        for spelling in spellings:
            if spelling in low:
                text = _without(text, low, spelling, value, mask)
                low = text.lower()
    return text


def _without(text: str, low: str, spelling: str, value: str, mask: str) -> str:
    """Every place where the spelling stands; of a long value also what follows, as far as it is the value's."""
    if len(low) != len(text):  # a letter that is two in lower case: places would not fit
        return re.sub(re.escape(spelling), lambda _: mask, text, flags=re.I)
    stands_alone = len(value) < _SHORT and value.isalnum()
    parts, end, rest = [], 0, value[_PREFIX:].lower()
    at = low.find(spelling)
    while at >= 0:
        after = at + len(spelling)
        if stands_alone and (_is_word(low, at - 1) or _is_word(low, after)):
            at = low.find(spelling, at + 1)
            continue
        parts += [text[end:at], mask]
        end = after + _common(low, after, rest)
        at = low.find(spelling, end)
    return "".join([*parts, text[end:]]) if parts else text


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")


def _common(low: str, start: int, rest: str) -> int:
    """How far the text goes on as the value does."""
    length = 0
    for one, other in zip(low[start : start + len(rest)], rest, strict=False):
        if one != other:
            break
        length += 1
    return length


# --- Numbers


def compact(pairs: Pairs) -> Pairs:
    """The digits of hidden numbers, without leading zeros: a phone number is written in many ways."""
    found = {digits(value).lstrip("0"): mask for value, mask in pairs.items()}
    return {known: mask for known, mask in found.items() if len(known) >= 7}


def digits(text: str) -> str:
    return _NO_DIGIT.sub("", text[:60])


def number(text: str, known: Mapping[str, str]) -> str:
    """The mask where it is one of the hidden numbers, however written, or a card; else the text as it is."""
    found = digits(text)
    significant = found.lstrip("0")
    if len(significant) >= 7:
        for one, mask in known.items():
            if significant.endswith(one) or one.endswith(significant):
                return mask
    return f"*****{found[-4:]}" if 13 <= len(found) <= 19 and _is_card(found) else text


def _without_numbers(text: str, known: Mapping[str, str]) -> str:
    if not _DIGITS.search(text):
        return text
    text = _IBANS.sub(lambda found: shape(found[0]) if _is_iban(found[0]) else found[0], text)
    return _DIGITS.sub(lambda found: number(found[0], known), text)


def _is_card(text: str) -> bool:
    doubled = [int(digit) * (2 if index % 2 else 1) for index, digit in enumerate(reversed(text))]
    return text[0] in "3456" and sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return len(plain) >= 15 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def parts(pairs: Pairs, size: int = VALUES_CAP) -> Sequence[Pairs]:
    """Few enough for one look each; one empty part where there are none."""
    values = list(pairs.items())
    return [dict(values[start : start + size]) for start in range(0, len(values), size)] or [{}]
