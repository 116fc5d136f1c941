"""The connection test: one read. It says what it found out, how long each part took and what to do; never the answer's body."""

from __future__ import annotations

from dataclasses import replace

from syncs.connectors import CheckReport
from syncs.destinations.http_api.auth import Authenticator
from syncs.destinations.http_api.config import HttpConfig
from syncs.destinations.http_api.proofs import Proof
from syncs.errors import AddressRefusedError, CredentialsError, LoginNeededError, RedriveError, TransientError
from syncs.http import Failure, FailureKind, Response, Session, timed

REAUTHORIZE = "reauthorize"  # key of a detail: a person must log in again
_REMEDIES = {
    FailureKind.DNS: "Correct the host name in base_url. If it is right, ask who runs the network why it is not known here.",
    FailureKind.CONNECT: "Correct host and port in base_url. If they are right, the service is down or behind a firewall.",
    FailureKind.TLS: "The destination must show a valid certificate of its name. A company's own authority is added with "
    "SSL_CERT_FILE.",
    FailureKind.DEADLINE: "Try again. If it lasts, a firewall may drop the calls, or raise limits.deadline_seconds.",
    FailureKind.LOST: "Try again. If it lasts, something between here and the destination cuts connections.",
    FailureKind.TOO_LARGE: "Choose a smaller read as check.path, or raise limits.max_answer_bytes.",
    FailureKind.MALFORMED: "What answers there is no HTTP server. Correct scheme and port in base_url.",
}


def check(config: HttpConfig, session: Session, auth: Authenticator) -> CheckReport:
    """Never raises for what the other side does, nor for a refused address or missing secret: the report says it."""
    phases: dict[str, float] = {}
    try:
        report = _check(config, session, auth, phases)
    except RedriveError as error:
        details = {REAUTHORIZE: "yes"} if isinstance(error, LoginNeededError) else None
        report = CheckReport(False, session.redactor.message(error.message), details=details, remedy=_remedy(error))
    return replace(report, milliseconds=sum(phases.values()), phases=phases)


def _check(config: HttpConfig, session: Session, auth: Authenticator, phases: dict[str, float]) -> CheckReport:
    with timed(phases, "credential"):
        proof = auth.proof()
    if phases["credential"] < 1:  # it was at hand
        del phases["credential"]
    answer = _read(config, session, proof, phases)
    is_lost = False
    if isinstance(answer, Response) and answer.status == 401 and auth.renew(proof):
        proof = auth.proof()
        answer = _read(config, session, proof, phases)
        is_lost = isinstance(answer, Response) and answer.status == 401 and auth.is_lost(proof)
    if isinstance(answer, Failure):
        return CheckReport(False, answer.message, remedy=_REMEDIES[answer.kind])
    status = answer.status
    details = {"Status": str(status), "Address": config.base_url, "Test call": f"{config.check.method} {config.check.path}"}
    expected = config.check.expect
    if status in expected if expected else 200 <= status < 300:
        return CheckReport(True, f"Connected: the test call answered {status}.", details=details)
    message, remedy = _why(status)
    if is_lost and auth.is_login:
        details[REAUTHORIZE] = "yes"
    return CheckReport(False, message, details=details, remedy=remedy)


def _read(config: HttpConfig, session: Session, proof: Proof, phases: dict[str, float]) -> Response | Failure:
    url = config.base_url + config.check.path
    if proof.query:
        url += ("&" if "?" in config.check.path else "?") + proof.query
    headers = {"Accept": "application/json", **config.headers, **proof.headers}
    return session.send(config.check.method, url, headers=headers, phases=phases)


def _remedy(error: RedriveError) -> str:
    if isinstance(error, AddressRefusedError):
        return "Correct base_url, or have the operator allow the network."
    if isinstance(error, TransientError):
        return "Try again later."
    if isinstance(error, CredentialsError):
        return ""  # its own text says it
    return "Correct the settings."


def _why(status: int) -> tuple[str, str]:
    """(what the answer says, what to do about it)"""
    if status == 401:
        return "The destination refused the credentials (401).", "Enter new ones."
    if status == 403:
        text = "The credentials are known but may not read the test address (403)."
        return text, "Check their rights at the destination, or set check.path to something they may read."
    if status in (404, 410):
        return f"There is nothing at the test address ({status}).", "Correct base_url or check.path."
    if 300 <= status < 400:
        return f"The destination redirects ({status}), and redirects are not followed.", "Correct base_url."
    if status == 429:
        return "The destination limits our calls at the moment (429).", "Try again later."
    if status >= 500:
        return f"The destination has a problem of its own ({status}).", "Try again later, or look at its status page."
    return f"The test call answered {status}, which is not expected.", "Correct check.path or check.expect."
