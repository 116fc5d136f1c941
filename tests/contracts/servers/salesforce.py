"""Emulator of Salesforce's REST API (collections, rows by external id, describe, OAuth), from its documented answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote

from tests.contracts.harness import HttpHarness
from tests.contracts.servers.base import ContractServer, Fault, fault_of
from tests.servers import Answer, Request

CODES = {"invalid": "INVALID_EMAIL_ADDRESS", "duplicate": "DUPLICATE_VALUE", "required": "REQUIRED_FIELD_MISSING"}
KEY = "External_Id__c"
CLIENT = {"client_id": "consumer-key-0815", "client_secret": "consumer-secret-0815"}


def _field(name: str, **changes: Any) -> dict[str, Any]:
    usual = {"label": name, "type": "string", "length": 80, "nillable": True, "createable": True, "updateable": True}
    return {"name": name, **usual, "defaultedOnCreate": False, "externalId": False, "picklistValues": [], **changes}


DESCRIBE = [
    _field("Id", type="id", length=18, nillable=False, createable=False, updateable=False, defaultedOnCreate=True),
    _field(KEY, length=50, externalId=True),
    _field("email", type="email", nillable=False),
    _field("OwnerId", type="reference", nillable=False, defaultedOnCreate=True),
    _field(
        "Rating",
        type="picklist",
        restrictedPicklist=True,
        picklistValues=[{"value": "Hot", "active": True}, {"value": "Gone", "active": False}],
    ),
    _field("Industry", type="picklist", restrictedPicklist=False, picklistValues=[{"value": "Retail", "active": True}]),
]


class Salesforce(ContractServer):
    """``is_revoked``: the connected app is blocked; a token that was given still ends with ``expire``."""

    is_revoked = False
    logins = 0

    def revoke(self) -> None:
        self.is_revoked = True
        self.expire()

    def expire(self) -> None:
        self.token = f"session-{self.logins}-ended"

    def __call__(self, request: Request) -> Answer:
        if request.path == "/services/oauth2/token":
            return self._login(parse_qs(request.body.decode()))
        return super().__call__(request)

    def _login(self, form: dict[str, list[str]]) -> Answer:
        given = {name: form.get(name, [""])[0] for name in CLIENT}
        if self.is_revoked or given != CLIENT:
            return Answer.json({"error": "invalid_client", "error_description": "invalid client credentials"}, 400)
        self.logins += 1
        self.token = f"session-{self.logins}"
        return Answer.json({"access_token": self.token, "token_type": "Bearer", "instance_url": "https://elsewhere.test"})

    def unauthorized(self) -> Answer:
        return Answer.json([{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}], 401)

    def answer(self, request: Request) -> Answer:
        _, _, _, version, *parts = [unquote(part) for part in request.path.split("/")]
        assert version == "v62.0"
        if request.method == "GET":
            return Answer.json({"fields": DESCRIBE} if parts[-1] == "describe" else {"sobjects": "/sobjects"})
        if parts[0] == "composite":
            data = request.json()
            assert data["allOrNone"] is False
            return Answer.json(self._collection(data["records"], is_upsert=request.method == "PATCH"))
        return self._row(request, parts[-1])

    def _collection(self, records: list[dict[str, Any]], *, is_upsert: bool) -> list[dict[str, Any]]:
        assert len(records) <= 200
        keys = [record[KEY] for record in records]
        results = []
        for record in records:
            assert record.pop("attributes") == {"type": "Contact"}
            fault = fault_of(record)
            if keys.count(record[KEY]) > 1:
                fault = Fault("duplicate", f"Duplicate external id specified: {record[KEY]}", KEY)
            if fault:
                errors = [{"statusCode": CODES[fault.kind], "message": fault.message, "fields": [fault.field]}]
                results.append({"success": False, "errors": errors})
            else:
                is_new = self.keep(record[KEY], record)
                created = {"created": is_new} if is_upsert else {}
                results.append({"id": f"003{record[KEY]}", "success": True, "errors": [], **created})
        return results

    def _row(self, request: Request, key: str) -> Answer:
        if key not in self.stored:
            text = "The requested resource does not exist"
            return Answer.json([{"errorCode": "NOT_FOUND", "message": text}], 404)
        if request.method == "DELETE":
            del self.stored[key]
        else:
            assert request.query == {"updateOnly": ["true"]}
            record = request.json()
            assert KEY not in record, "the external id must not stand in the body"
            self.keep(key, record)
        return Answer(204)


def settings(url: str, **changes: Any) -> dict[str, Any]:
    return {"base_url": url, "objects": f"Contact: {KEY}", **changes}


HARNESS = HttpHarness(
    kind="salesforce",
    server=Salesforce,
    config=settings,
    secrets=CLIENT,
    object_name="Contact",
    payload=lambda key, values: {KEY: key, **values},
    drop=lambda data: data[:-1],
    token_path="/services/oauth2/token",
)
