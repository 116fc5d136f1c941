"""Callers without a key: the signature of a call says that it comes from who holds the secret of a trigger."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter
from rest_framework import exceptions, permissions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from syncs.models import SyncTrigger
from syncs.rest.problems import Problem
from syncs.rest.schema import ResourceSchema
from syncs.services import triggering
from syncs.signatures import ID, SIGNATURE, TIMESTAMP

_LONGEST_ID = 255
_HOW = "Sign the call by Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature."


class SignedCall(BaseAuthentication):
    """``request.auth``: the trigger. Who does not sign right hears the same, whether the address exists or not."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, SyncTrigger]:
        body = _body(request)
        call_id, stamp = request.headers.get(ID, ""), request.headers.get(TIMESTAMP, "")
        if not (1 <= len(call_id) <= _LONGEST_ID and call_id.isascii() and call_id.isprintable()):
            raise exceptions.AuthenticationFailed(f"{_HOW} The id is 1 to {_LONGEST_ID} printable ASCII characters.")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12) or not triggering.is_in_time(int(stamp)):
            minutes = int(triggering.SKEW.total_seconds() // 60)
            raise exceptions.AuthenticationFailed(
                f"{_HOW} The timestamp is in seconds since 1970, and at most {minutes} minutes from now."
            )
        trigger = triggering.signed_by(
            request.parser_context["kwargs"]["public_id"],
            call_id=call_id,
            timestamp=int(stamp),
            signature=request.headers.get(SIGNATURE, ""),
            body=body,
        )
        if trigger is None:
            raise exceptions.AuthenticationFailed("No trigger of this address fits the signature.")
        return AnonymousUser(), trigger

    def authenticate_header(self, request: Request) -> str:
        return 'Webhook-Signature realm="redrive"'


class Signed(permissions.BasePermission):
    """What the trigger is for is all that its caller may do."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.auth, SyncTrigger)


def _body(request: Request) -> bytes:
    """As it was sent: every byte of it is signed."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not str(length).isdigit() or int(length) > triggering.BODY_MAX:
        raise Problem(413, "too_large", f"The body has more than {triggering.BODY_MAX:,} bytes. Send less.")
    body: bytes = request.body
    return body


class SignatureScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "syncs.rest.signed.SignedCall"
    name = "Signature"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": SIGNATURE,
            "description": "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body` with the trigger's secret; several, parted "
            "by blanks.",
        }


class SignedSchema(ResourceSchema):
    """The document of an address that is called with a signature."""

    def get_operation_id(self) -> str:
        return "triggers_call"

    def get_description(self) -> str:  # type: ignore[override]
        return self._about.description

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        made = super()._resolve_path_parameters(variables)
        for one in made:
            one["schema"] = {"type": "string", "minLength": 1, "maxLength": 32, "pattern": "^[A-Za-z0-9_]+$"}
        return made

    def get_override_parameters(self) -> list[Any]:
        texts = {
            ID: "An id of your own; the same call sent again has the same one.",
            TIMESTAMP: "Seconds since 1970, of this attempt.",
        }
        added = [
            OpenApiParameter(name, str, OpenApiParameter.HEADER, required=True, description=text)
            for name, text in texts.items()
        ]
        return [one for one in super().get_override_parameters() if one.name != "Idempotency-Key"] + added
