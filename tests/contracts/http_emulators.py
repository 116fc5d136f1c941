"""Small emulators of how real APIs answer batches, one per class, each with the connection settings that describe it.

They hold what they accepted, so that a test can compare outcomes with the truth. The facts are from the vendors' documents; no
code or document is copied. A record is bad when its ``email`` says so: ``bad`` (format), ``dup`` (taken), absent (required).
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import unquote

from tests.contracts.servers import base
from tests.servers import Answer, Request, Server


@dataclass
class Fault:
    code: str
    message: str


def fault_of(record: dict[str, Any]) -> Fault | None:
    """The same mistakes as those of every contract server, under codes of its own."""
    fault = base.fault_of(record)
    return Fault(fault.kind.upper(), fault.message) if fault else None


@dataclass
class Emulator:
    """``stored``: key -> record, what was really written. ``tamper`` changes an answer's data before it is sent."""

    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    tamper: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    max_batch = 100
    is_atomic = False
    config: ClassVar[dict[str, Any]] = {}

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET" and request.path == "/me":
            return Answer.json({"name": "emulator"})
        with self.lock:
            answer = self.answer(request)
        if self.tamper is not None:
            answer.body = json.dumps(self.tamper(json.loads(answer.body))).encode()
        return answer

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    def keep(self, key: str, record: dict[str, Any]) -> bool:
        is_new = key not in self.stored
        self.stored[key] = record
        return is_new

    def settings(self, server: Server, **changes: Any) -> dict[str, Any]:
        shared = {"base_url": server.url, "auth": {"kind": "bearer"}, "check": {"path": "/me"}}
        return {**shared, **self.config, **changes}


class AtomicWithoutLocator(Emulator):
    """A, as Datasette: one error for all, nothing written."""

    is_atomic = True
    config = {
        "objects": {
            "contacts": {
                "operations": {
                    "upsert": {
                        "path": "/crm/contacts/-/upsert",
                        "per_call": "batch",
                        "body": {"list_at": "rows", "constants": {"return": True}},
                        "success": {"status": 200, "flag": {"path": "ok", "equals": True}, "count": "rows"},
                        "error": {"message": "error"},
                    }
                }
            }
        }
    }

    def answer(self, request: Request) -> Answer:
        rows = request.json()["rows"]
        for row in rows:
            if fault := fault_of(row):
                return Answer.json({"ok": False, "error": fault.message, "status": 400}, 400)
        for row in rows:
            self.keep(row["id"], row)
        return Answer.json({"ok": True, "rows": rows})


class AtomicWithLocator(AtomicWithoutLocator):
    """B: one error for all, with the rows that are to blame."""

    config = {
        "objects": {
            "contacts": {
                "operations": {
                    "upsert": {
                        **AtomicWithoutLocator.config["objects"]["contacts"]["operations"]["upsert"],
                        "is_atomic": True,
                        "locator": {"kind": "index", "errors": "errors", "pattern": r"Row (?P<index>\d+)", "base": 1},
                    }
                }
            }
        }
    }

    def answer(self, request: Request) -> Answer:
        rows = request.json()["rows"]
        faults = [f"Row {number}: {fault.message}" for number, row in enumerate(rows, 1) if (fault := fault_of(row))]
        if faults:
            return Answer.json({"ok": False, "error": faults[0], "errors": faults}, 400)
        return super().answer(request)


class PartialByPosition(Emulator):
    """C, as Salesforce collections: an array in the order of the request."""

    config = {
        "error_rules": [
            {"status": 403, "code": "REQUEST_LIMIT_EXCEEDED", "signal": "rate_limited"},
            {"code": "UNABLE_TO_LOCK_ROW", "type": "destination_unavailable", "is_permanent": False},
            {"code": "INVALID_SESSION_ID", "signal": "auth"},
        ],
        "objects": {
            "contacts": {
                "operations": {
                    "upsert": {
                        "method": "PATCH",
                        "path": "/composite/sobjects/Contact/External_Id__c",
                        "per_call": "batch",
                        "body": {"list_at": "records", "constants": {"allOrNone": False}},
                        "record": {"constants": {"attributes": {"type": "Contact"}}},
                        "locator": {
                            "kind": "position",
                            "results": "",
                            "ok": {"path": "success"},
                            "code": "errors[].statusCode",
                            "message": "errors[].message",
                            "field": "errors[].fields[]",
                        },
                        "error": {"code": "[].errorCode", "message": "[].message"},
                        "id": "id",
                        "detail": {"path": "created", "values": {"true": "created", "false": "updated"}},
                    }
                }
            }
        },
    }

    def answer(self, request: Request) -> Answer:
        results = []
        for record in request.json()["records"]:
            assert record.pop("attributes") == {"type": "Contact"}
            if fault := fault_of(record):
                errors = [{"statusCode": fault.code, "message": fault.message, "fields": ["email"]}]
                results.append({"success": False, "errors": errors})
            else:
                is_new = self.keep(record["id"], record)
                results.append({"id": f"003{record['id']}", "success": True, "created": is_new, "errors": []})
        return Answer.json(results)


class PartialByCorrelation(Emulator):
    """D, as HubSpot: an id of ours comes back with each error; property values are text."""

    config = {
        "objects": {
            "contacts": {
                "limits": {"max_records": 100},
                "operations": {
                    "upsert": {
                        "path": "/crm/v3/objects/contacts/batch/upsert",
                        "per_call": "batch",
                        "body": {"list_at": "inputs"},
                        "record": {
                            "id_at": "id",
                            "id_from": "id",
                            "properties_at": "properties",
                            "constants": {"idProperty": "external_id"},
                            "correlation_at": "objectWriteTraceId",
                            "values_as_strings": True,
                            "nulls": "empty_text",
                        },
                        "key_field": "id",
                        "unique_keys_in_batch": True,
                        "success": {"status": [200, 201, 207]},
                        "locator": {
                            "kind": "correlation",
                            "results": "results",
                            "result_id": "objectWriteTraceId",
                            "errors": "errors",
                            "id": "context.objectWriteTraceId",
                            "code": "category",
                            "message": "message",
                        },
                        "error": {"code": "category", "message": "message"},
                        "id": "id",
                        "detail": {"path": "new", "values": {"true": "created", "false": "updated"}},
                    }
                },
            }
        }
    }

    def answer(self, request: Request) -> Answer:
        results, errors, seen = [], [], set()
        for item in request.json()["inputs"]:
            assert item["idProperty"] == "external_id"
            assert all(isinstance(value, str) for value in item["properties"].values())
            assert item["id"] not in seen, "a key came twice in one batch"
            seen.add(item["id"])
            trace = item["objectWriteTraceId"]
            if fault := fault_of(item["properties"]):
                context = {"objectWriteTraceId": [trace]}
                errors.append({"status": "error", "category": fault.code, "message": fault.message, "context": context})
            else:
                is_new = self.keep(item["id"], item["properties"])
                results.append({"id": f"h{item['id']}", "new": is_new, "objectWriteTraceId": trace})
        return Answer.json({"status": "COMPLETE", "results": results, "errors": errors}, 207 if errors else 200)


class PartialByKeyLists(Emulator):
    """E, as Iterable: counts, and lists of keys that failed, without messages."""

    config = {
        "objects": {
            "contacts": {
                "operations": {
                    "upsert": {
                        "path": "/users/bulkUpdate",
                        "per_call": "batch",
                        "body": {"list_at": "users"},
                        "record": {"id_at": "userId", "id_from": "id", "properties_at": "dataFields"},
                        "key_field": "id",
                        "unique_keys_in_batch": True,
                        "locator": {
                            "kind": "key_lists",
                            "lists": {
                                "failedUpdates.invalidUserIds": {
                                    "type": "validation",
                                    "message": "Invalid email.",
                                },
                                "failedUpdates.conflictUserIds": {"type": "duplicate_key"},
                                "failedUpdates.requiredUserIds": {"type": "missing_required"},
                            },
                            "written_count": "successCount",
                            "failed_count": "failCount",
                        },
                        "error": {"code": "code", "message": "msg"},
                    }
                }
            }
        }
    }

    def answer(self, request: Request) -> Answer:
        lists: dict[str, list[str]] = {"INVALID": [], "DUPLICATE": [], "REQUIRED": []}
        users = request.json()["users"]
        for user in users:
            if fault := fault_of(user["dataFields"]):
                lists[fault.code].append(user["userId"])
            else:
                self.keep(user["userId"], user["dataFields"])
        names = {"INVALID": "invalidUserIds", "DUPLICATE": "conflictUserIds", "REQUIRED": "requiredUserIds"}
        failed = sum(map(len, lists.values()))
        updates = {names[code]: ids for code, ids in lists.items()}
        return Answer.json({"successCount": len(users) - failed, "failCount": failed, "failedUpdates": updates})


class PartialByIndex(Emulator):
    """F, as Braze: an error names an array and an index; 400 when every record is bad."""

    config = {
        "wait": {"kind": "reset_epoch", "header": "X-RateLimit-Reset"},
        "objects": {
            "contacts": {
                "limits": {"max_records": 75},
                "operations": {
                    "upsert": {
                        "path": "/users/track",
                        "per_call": "batch",
                        "body": {"list_at": "attributes"},
                        "record": {"id_at": "external_id", "id_from": "id"},
                        "success": {"status": 201, "flag": {"path": "message", "equals": "success"}},
                        "accepted_only": {"status": 201, "outcome": "written"},
                        "locator": {
                            "kind": "index",
                            "errors": "errors",
                            "index": "index",
                            "only": {"path": "input_array", "equals": "attributes"},
                            "message": "type",
                        },
                        "error": {"message": "message"},
                    }
                },
            }
        },
    }

    def answer(self, request: Request) -> Answer:
        errors, items = [], request.json()["attributes"]
        for index, item in enumerate(items):
            if fault := fault_of(item):
                errors.append({"type": fault.message, "input_array": "attributes", "index": index})
            else:
                self.keep(item["external_id"], item)
        is_nothing = len(errors) == len(items)
        data: dict[str, Any] = {
            "message": "success" if not is_nothing else "No valid objects",
            "attributes_processed": len(items),
        }
        if errors:
            data["errors"] = errors
        return Answer.json(data, 400 if is_nothing else 201)


class OnePerCall(Emulator):
    """H: the call says it. Create answers 201, update 200, a deleted record 204."""

    max_batch = 1
    config = {
        "objects": {
            "contacts": {
                "operations": {
                    "upsert": {
                        "method": "PUT",
                        "path": "/contacts/{key}",
                        "success": {"status": [200, 201], "present": ["id"]},
                        "error": {"code": "errors[].code", "message": "errors[].message", "field": "errors[].field"},
                        "id": "id",
                        "detail": {"status": {"200": "updated", "201": "created"}},
                        "idempotency": {"kind": "header"},
                    },
                    "delete": {
                        "method": "DELETE",
                        "path": "/contacts/{key}",
                        "body": {"kind": "none"},
                        "success": {"status": [200, 204, 404]},
                    },
                }
            }
        }
    }

    def answer(self, request: Request) -> Answer:
        key = unquote(request.path.rpartition("/")[2])
        if request.method == "DELETE":
            return Answer(204 if self.stored.pop(key, None) is not None else 404)
        record = request.json()
        if fault := fault_of(record):
            status = {"DUPLICATE": 409}.get(fault.code, 422)
            return Answer.json({"errors": [{"code": fault.code, "message": fault.message, "field": "email"}]}, status)
        return Answer.json({"id": f"c-{key}"}, 201 if self.keep(key, record) else 200)


CLASSES: dict[str, type[Emulator]] = {
    "A": AtomicWithoutLocator,
    "B": AtomicWithLocator,
    "C": PartialByPosition,
    "D": PartialByCorrelation,
    "E": PartialByKeyLists,
    "F": PartialByIndex,
    "H": OnePerCall,
}
