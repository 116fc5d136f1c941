"""How lines of the log look, and what never gets into one: secrets, values that a database quotes, and second lines that a
message brought along.

``LOG_FORMAT=json``: one JSON object per line, with the run and the sync it is about (docs/observability.md).
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter

from syncs import log_context
from syncs.http.redaction import Redactor

MESSAGE_LIMIT, TRACE_LIMIT = 8_000, 20_000  # characters
SHORTEST = 8  # a shorter password is more likely a word of every second line
_LEFT_OUT = "left out, it may hold values"
# PostgreSQL repeats the row ("Failing row contains (…)"), SQLAlchemy the parameters.
_QUOTED = re.compile(
    r"^(DETAIL|CONTEXT):.*?(?=^(?:HINT|CONTEXT|QUERY|LINE|Traceback|The above|During handling|\[SQL)\b|\Z)", re.M | re.S
)
_PARAMETERS = re.compile(r"\[parameters: .*?\]$", re.M | re.S)
_EXTRAS = ("status_code",)  # an extra may hold anything (Django's hold the request): only these are written


@lru_cache(maxsize=1)
def _redactor() -> Redactor:
    """Knows the secrets of the process itself; those of connections are masked where they are used."""
    knobs, database = settings.RETL, settings.DATABASES["default"]
    own = [settings.SECRET_KEY, database.get("PASSWORD", ""), settings.EMAIL_HOST_PASSWORD]
    own += [*knobs["ENCRYPTION_KEYS"], *knobs["METRICS_TOKENS"], *knobs["FEED_TOKENS"]]
    return Redactor(str(one) for one in own if len(str(one)) >= SHORTEST)


def redacted(text: str, *, limit: int) -> str:
    if "DETAIL:" in text or "CONTEXT:" in text:
        text = _QUOTED.sub(rf"\1: {_LEFT_OUT}\n", text)
    if "[parameters: " in text:
        text = _PARAMETERS.sub(f"[parameters: {_LEFT_OUT}]", text)
    return _redactor().excerpt(text, limit=limit)


class LineFormatter(logging.Formatter):
    """One line per message; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:
            record.exc_text = None  # another handler may have kept it there as it was
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = redacted(record.message, limit=MESSAGE_LIMIT).replace("\r", "\\r").replace("\n", "\\n")
        about = "".join(f" {name}={value}" for name, value in log_context.about().items())
        return super().formatMessage(record) + (f" [{about.strip()}]" if about else "")

    def formatException(self, exc_info: Any) -> str:
        return redacted(super().formatException(exc_info), limit=TRACE_LIMIT)

    def formatStack(self, stack_info: str) -> str:
        return redacted(stack_info, limit=TRACE_LIMIT)


class JsonLines(JsonFormatter):
    """``time`` (UTC), ``level``, ``logger``, ``message``, the ids of ``log_context``, ``exception`` with the traceback."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        said = message_dict.get("message", record.message)
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = redacted(str(said), limit=MESSAGE_LIMIT)
        log_data.update(log_context.about())
        log_data.update({name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)})
        for name, trace in (("exception", message_dict.get("exc_info")), ("stack", message_dict.get("stack_info"))):
            if trace:
                log_data[name] = redacted(str(trace), limit=TRACE_LIMIT)
        log_data["process"] = record.process
