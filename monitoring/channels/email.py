"""Email: text and HTML, through the server that EMAIL_URL names. The only kind that knows Django."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email
from django.template.loader import render_to_string

from monitoring.channels.base import WAITS, Message, Place, Sent
from monitoring.choices import Event, Severity
from syncs.connectors import ConfigField, Issue
from syncs.http import Redactor, clean

__all__ = ["FIELDS", "HELP", "TAKES", "WAITS", "send", "validate"]

HELP = "Mails with links to the run and the error group, to addresses you name."
TAKES: frozenset[Event] | None = None
_MOST = 50
FIELDS = (
    ConfigField(
        "to", "To", is_required=True, help=f"Addresses, joined by commas; at most {_MOST}. A mailing list counts as one."
    ),
    ConfigField("prefix", "Subject begins with", help="For example [Redrive production]. Empty: [Redrive]."),
)
_WORDS = {Severity.PAGE: "Page: ", Severity.WARNING: "", Severity.INFO: ""}
_NOWHERE = ("console", "dummy")


def addresses(config: Mapping[str, Any]) -> tuple[str, ...]:
    parts = str(config.get("to") or "").replace(";", ",").replace("\n", ",").split(",")
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def validate(config: Mapping[str, Any], secrets: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> list[Issue]:
    found = addresses(config)
    if not found:
        return [Issue("to", "Enter at least one address.")]
    if len(found) > _MOST:
        return [Issue("to", f"These are {len(found)} addresses; at most {_MOST} are taken. Use a mailing list.")]
    return [Issue("to", f"“{one[:80]}” is not an email address.") for one in found if not _is_address(one)]


def is_set_up() -> bool:
    """Whether a mail server is named: without EMAIL_URL, mails go to the log, and nobody reads them there."""
    return settings.EMAIL_BACKEND.rsplit(".", 2)[-2] not in _NOWHERE


def send(message: Message, place: Place) -> Sent:
    recipients = place.recipients or addresses(place.config)
    if not recipients:
        return Sent(False, error="There is no address to send it to.", is_permanent=True)
    if not is_set_up():
        return Sent(False, error="No mail server is named: set EMAIL_URL, then send it again.", is_permanent=True)
    started = time.monotonic()
    try:
        made = compose(message, recipients, prefix=str(place.config.get("prefix") or "[Redrive]"))
        made.connection = get_connection(fail_silently=False)
        made.send()
    except smtplib.SMTPRecipientsRefused as error:
        # Answers of single recipients: 5xx is for ever.
        codes = [code for code, _ in error.recipients.values()]
        return _failed(started, f"The server refused every recipient ({codes[0]}).", codes[0], all(c >= 500 for c in codes))
    except smtplib.SMTPResponseException as error:
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
        code = int(error.smtp_code)
        return _failed(started, f"The mail server answered {code}: {text}", code, code >= 550)
    except (smtplib.SMTPException, OSError) as error:
        return _failed(started, f"The mail server could not be used ({type(error).__name__}).", None, False)
    except ValueError as error:  # a header that cannot be one
        return _failed(started, f"The mail cannot be made ({type(error).__name__}).", None, True)
    return Sent(True, milliseconds=(time.monotonic() - started) * 1000)


def compose(message: Message, recipients: tuple[str, ...], *, prefix: str) -> EmailMultiAlternatives:
    """Mails about one incident make one thread, by ``References``. Machine-made mails ask for no automatic answer."""
    domain = urlsplit(settings.RETL["BASE_URL"]).hostname or "localhost"
    word = "" if message.event == Event.INCIDENT_RESOLVED else _WORDS[message.severity]
    thread = f"<{''.join(c if c.isalnum() else '.' for c in message.subject)}@{domain}>"
    context = {
        "message": message,
        "severity": message.severity.value.capitalize(),
        "paragraphs": message.text.splitlines(),
        "base_url": settings.RETL["BASE_URL"],
    }
    made = EmailMultiAlternatives(
        subject=" ".join(clean(f"{prefix} {word}{message.title}").split())[:250],
        body=render_to_string("notifications/email.txt", context),
        to=list(recipients),
        headers={
            "Message-ID": f"<{message.id}@{domain}>",
            "References": thread,
            "In-Reply-To": thread,
            "Auto-Submitted": "auto-generated",
            "X-Redrive-Event": message.event.value,
        },
    )
    made.attach_alternative(render_to_string("notifications/email.html", context), "text/html")
    return made


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _failed(started: float, error: str, code: int | None, is_permanent: bool) -> Sent:
    said = Redactor([settings.EMAIL_HOST_PASSWORD or ""]).message(error)
    return Sent(
        False, http_status=code, milliseconds=(time.monotonic() - started) * 1000, error=said, is_permanent=is_permanent
    )
