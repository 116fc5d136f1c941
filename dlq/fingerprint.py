"""What makes two dead letters the same cause: error type, code, field, and the message without what differs from row to row.

``masked`` is read by people as the title of the error group: values become "…", words stay.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import urlsplit

MASK = "…"
MAX_MESSAGE = 2_000  # characters read; what follows is detail, and a message may be megabytes
MAX_TITLE = 300

_NUMBER_PART = re.compile(r"\[\d*\]|(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")
_URL = re.compile(r"\bhttps?://[^\s\"'“”<>`]+", re.IGNORECASE)
_MAIL = re.compile(r"[^\s@\"'“”<>()\[\],;:=]{1,64}@[^\s@\"'“”<>()\[\],;:=]{1,190}\.[\w-]{2,24}")
# After these words a quoted or bracketed name belongs to the schema, not to the row.
_SCHEMA_WORD = r"(?:columns?|fields?|attributes?|relation|table|constraint|index|parameters?|keyword|role|schema|type|enum)"
_SCHEMA_NAME = re.compile(rf"(\b{_SCHEMA_WORD}:?\s+)([\"'“`])([A-Za-z_][\w.\-]{{0,62}})([\"'”`])", re.IGNORECASE)
_KEY_DETAIL = re.compile(r"(\bKey \([^()]{1,200}\))=\(.*?\)(?= (?:already|is|conflicts)\b|\.|$)")
_FAILING_ROW = re.compile(r"(Failing row contains )\(.*", re.DOTALL)
_QUOTED = re.compile(
    r"""“[^”]*(?:”|$)|«[^»]*(?:»|$)|‘[^’]*’|`[^`]*`|"(?:\\.|[^"\\])*(?:"|$)|(?<!\w)'(?:\\.|[^'\\])*?'(?!\w)""",
)
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?\b"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\b"
)
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
_HEX = re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE)
# Ids of letters and digits, such as 0035g00000XyZ, cus_9s6XKzkNRiz8i3, AB-1234: long, or several digits.
_ID = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?:[A-Za-z]+[_-])?(?=[\w]*\d[\w]*\d[\w]*\d)(?=[\w]*[A-Za-z])[A-Za-z0-9]{8,}(?![\w-])")
_TICKET = re.compile(r"(?<![\w-])[A-Za-z]{1,12}[-_#]\d{2,}(?![\w-])")
_NUMBER = re.compile(r"(?<![\w…])[+-]?\d+(?:[.,’_]\d+)*(?:[eE][+-]?\d+)?%?(?![\w])")
_QUOTE = re.compile("[\"'`“«‘]")
_DIGIT = re.compile(r"\d")
_KEPT = re.compile("\x00([\ue000-\uf8ff])\x00")
_MASKS = re.compile(rf"[(\[{{]?{MASK}[)\]}}]?(?:\s*[,;]\s*[(\[{{]?{MASK}[)\]}}]?)+")


def fingerprint(error_type: str, code: str, field: str, message: str) -> str:
    """32 hex digits, the same for every row that failed for the same reason; list positions in ``field`` do not count."""
    parts = (str(error_type), code.strip()[:100], field_shape(field), masked(message).casefold())
    return blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()


def field_shape(field: str) -> str:
    """The field without positions in lists: ``items[3].sku`` and ``items.7.sku`` have the same."""
    return _NUMBER_PART.sub("[]", field.strip()[:300])


def masked(message: str) -> str:
    """The message with ids, numbers, mails, dates, quoted values and moving parts of URLs as "…"; at most 300 characters."""
    text = " ".join(message[:MAX_MESSAGE].replace("\x00", "").encode("utf-8", "replace").decode().split())
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(f"{found[1]}{found[2]}{found[3]}{found[4]}")
        return f"\x00{chr(0xE000 + len(kept) - 1)}\x00"

    # Most messages hold few of these; a look for the sign that each needs is far cheaper than its pattern.
    if "(" in text:
        text = _FAILING_ROW.sub(rf"\1{MASK}", text)
        text = _KEY_DETAIL.sub(rf"\1={MASK}", text)
    if _QUOTE.search(text):
        text = _QUOTED.sub(MASK, _SCHEMA_NAME.sub(keep, text))
    if "://" in text:
        text = _URL.sub(_masked_url, text)
    if "@" in text:
        text = _MAIL.sub(MASK, text)
    if _DIGIT.search(text):
        for pattern in (_UUID, _ADDRESS, _DATE, _HEX, _ID, _TICKET, _NUMBER):
            text = pattern.sub(MASK, text)
    text = _MASKS.sub(MASK, text)
    if kept:
        text = _KEPT.sub(lambda found: kept[ord(found[1]) - 0xE000], text)
    return text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + MASK


def _masked_url(found: re.Match[str]) -> str:
    """Host and the words of the path stay; segments with digits or of great length, queries and fragments do not."""
    url = found[0].rstrip(".,;:)]}")
    tail = found[0][len(url) :]
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return MASK + tail
    # Digits inside words (v1, oauth2) are names; the rest of the masks would otherwise eat them.
    segments = [segment if _is_word(segment) else MASK for segment in parts.path.split("/")]
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{host}{'/'.join(segments)}{query}{tail}"


def _is_word(segment: str) -> bool:
    return not segment or (len(segment) <= 30 and bool(re.fullmatch(r"v\d{1,2}|[A-Za-z_-]+\d?", segment)))
