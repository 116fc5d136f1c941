"""Masking of secrets in whatever leaves the process: step excerpts, error messages, connection tests, logs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

EXCERPT_LIMIT = 4096  # characters kept of any answer
MASK = "•••"
_SHORTEST_SECRET = 4  # shorter values would mask half of any text; they are masked as whole words only
_SLACK = 256  # characters read past the limit, so that a token on the edge is still seen whole

# Everything that is no text (NUL breaks PostgreSQL), and marks that turn the reading direction around.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_NAMES = (
    r"(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|api[-_ ]?key|apikey|auth[-_]?token|access[-_]?token|refresh[-_]?token"
    r"|id[-_]?token|csrf[-_]?token|session[-_]?(?:id|token|key)|token|secret|client[-_]?secret|password|passwd|pwd|signature"
    r"|private[-_]?key|credential"
)
_QUOTED = re.compile(
    rf'(?P<keep>["\'](?:[\w-]*[-_.])?(?:{_NAMES})["\']\s*[:=]\s*)(["\'])(?P<value>(?:\\.|(?!\2).){{1,4096}})\2?', re.I
)
_QUERY = re.compile(rf"(?P<keep>[?&;\s](?:[\w-]*[-_.])?(?:{_NAMES}|key|sig|auth|code)=)[^\s&#;\"'<>]{{1,4096}}", re.I)
_HEADER = re.compile(
    r"(?P<keep>\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]*(?:key|token|secret|auth)[\w-]*)\s*:\s*)[^\r\n\"'<>,}]{1,4096}",
    re.I,
)
_SCHEME = re.compile(r"(?P<keep>\b(?:bearer|basic|token)\s+)(?=[A-Za-z0-9+/_.~=-]*[0-9A-Z+/=])[A-Za-z0-9+/_.~=-]{8,4096}", re.I)
_TOKENS = re.compile(
    r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"  # JSON web token
    r"|\b(?:sk|pk|rk|pat|whsec|xox[abprs]|gh[opsur]|glpat|dstok|shpat)[-_][A-Za-z0-9_=.-]{10,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\brd_[a-z0-9]{12}_[A-Za-z0-9_-]{10,}"  # a key of our own API
    r"|(?<![A-Za-z0-9_/+-])(?=[A-Za-z0-9_+/-]*[a-z])(?=[A-Za-z0-9_+/-]*[A-Z])(?=[A-Za-z0-9_+/-]*[0-9])[A-Za-z0-9_+-]{32,}={0,2}"
)


# Cheap looks that spare most texts the dear patterns: every pattern needs one of these words, or a run this long.
_WORDS = ("auth", "cookie", "key", "token", "secret", "pass", "pwd", "sess", "sig", "cred", "bearer", "basic", "code")
_RUN = re.compile(r"[A-Za-z0-9_.=+-]{13}")


def clean(text: str) -> str:
    """Without control characters and direction marks; lone surrogates go too."""
    return text if text.isprintable() else _CONTROL.sub("", text)


class Redactor:
    """Masks what it was told is secret, and what looks like it.

    ``add`` may be called while others redact (a refreshed token). Values are masked as written, percent-encoded and in base64.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        new = {secret for secret in secrets if secret} - self._secrets
        if not new:
            return
        self._secrets = self._secrets | new
        forms = sorted({form for secret in self._secrets for form in _forms(secret)}, key=len, reverse=True)
        self._longest = len(forms[0])
        self._pattern = re.compile("|".join(_exact(form) for form in forms))

    def excerpt(self, raw: str | bytes, *, limit: int = EXCERPT_LIMIT) -> str:
        """At most ``limit`` characters, masked, without control characters. Undecodable bytes become ``\ufffd``."""
        reach = limit + max(self._longest, _SLACK)
        is_cut = len(raw) > reach * (4 if isinstance(raw, bytes) else 1)
        if isinstance(raw, bytes):
            raw = raw[: reach * 4].decode("utf-8", "replace")
        is_cut = is_cut or len(raw) > reach
        text = self._masked(clean(raw[:reach]))
        if is_cut:
            # The last characters may be the beginning of a secret that was cut in two.
            text = text[: -max(self._longest, 1)]
        return text if len(text) <= limit else text[: limit - 1] + "…"

    def message(self, raw: str, *, limit: int = 1000) -> str:
        """One line for people."""
        return " ".join(self.excerpt(raw, limit=limit).split())

    def identifier(self, raw: str) -> str:
        """A request id: only what is configured as secret is masked, for an id may well look like a token."""
        text = clean(raw[:1000])
        return (text if self._pattern is None else self._pattern.sub(MASK, text))[:200]

    def request_line(self, method: str, url: str) -> str:
        return self.excerpt(f"{method} {url}", limit=500)

    def _masked(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        lowered = text.lower()
        if any(word in lowered for word in _WORDS):
            text = _QUOTED.sub(rf"\g<keep>\2{MASK}\2", text)
            if "=" in text:
                text = _QUERY.sub(rf"\g<keep>{MASK}", text)
            if ":" in text:
                text = _HEADER.sub(rf"\g<keep>{MASK}", text)
            text = _SCHEME.sub(rf"\g<keep>{MASK}", text)
        return _TOKENS.sub(MASK, text) if _RUN.search(text) else text


def _forms(secret: str) -> set[str]:
    escaped = secret.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    forms = {secret, quote(secret, safe=""), quote_plus(secret), secret.replace("\\", "\\\\").replace('"', '\\"'), escaped}
    if len(secret) >= _SHORTEST_SECRET:
        forms.add(base64.b64encode(secret.encode("utf-8", "replace")).decode().rstrip("="))
    return {form for form in forms if form}


def _exact(form: str) -> str:
    return re.escape(form) if len(form) >= _SHORTEST_SECRET else rf"(?<!\w){re.escape(form)}(?!\w)"
