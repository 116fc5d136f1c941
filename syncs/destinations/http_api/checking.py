"""The connection test: one read. It says what it found out and never shows the answer's body."""

from __future__ import annotations

from syncs.connectors import CheckReport
from syncs.destinations.http_api.auth import Authenticator
from syncs.destinations.http_api.config import HttpConfig
from syncs.errors import RedriveError
from syncs.http import Failure, Response, Session


def check(config: HttpConfig, session: Session, auth: Authenticator) -> CheckReport:
    """Never raises for what the other side does, nor for a refused address or missing secret: the report says it."""
    try:
        return _check(config, session, auth)
    except RedriveError as error:
        return CheckReport(False, session.redactor.message(error.message))


def _check(config: HttpConfig, session: Session, auth: Authenticator) -> CheckReport:
    proof = auth.proof()
    answer = _read(config, session, proof.headers, proof.query)
    if not isinstance(answer, Failure) and answer.status == 401 and auth.renew(proof):
        proof = auth.proof()
        answer = _read(config, session, proof.headers, proof.query)
    if isinstance(answer, Failure):
        return CheckReport(False, answer.message, answer.milliseconds)
    status = answer.status
    details = {"Status": str(status), "Address": config.base_url, "Test call": f"{config.check.method} {config.check.path}"}
    expected = config.check.expect
    if status in expected if expected else 200 <= status < 300:
        return CheckReport(True, f"Connected: the test call answered {status}.", answer.milliseconds, details)
    return CheckReport(False, _why(status), answer.milliseconds, details)


def _read(config: HttpConfig, session: Session, headers: dict[str, str], query: str) -> Response | Failure:
    url = config.base_url + config.check.path
    if query:
        url += ("&" if "?" in config.check.path else "?") + query
    return session.send(config.check.method, url, headers={"Accept": "application/json", **config.headers, **headers})


def _why(status: int) -> str:
    if status == 401:
        return "The destination refused the credentials (401). Enter new ones."
    if status == 403:
        return "The credentials are known but may not read the test address (403). Check their rights, or set check.path."
    if status in (404, 410):
        return f"There is nothing at the test address ({status}). Correct base_url or check.path."
    if 300 <= status < 400:
        return f"The destination redirects ({status}), and redirects are not followed. Correct base_url."
    if status == 429:
        return "The destination limits our calls at the moment (429). Try again later."
    if status >= 500:
        return f"The destination has a problem of its own ({status}). Try again later."
    return f"The test call answered {status}, which is not expected. Correct check.path or check.expect."
