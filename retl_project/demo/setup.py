"""What the demo needs in the console: two users, two connections, two syncs. What exists stays as people left it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Group
from django.db import transaction

from retl_project import roles
from retl_project.demo import crm_connection
from syncs.choices import ConnectionRole, Detection, FieldType, MappingKind, OnNull, ScheduleKind, SyncMode
from syncs.models import Connection, FieldMapping, Sync
from syncs.services import schedules

WAREHOUSE = "Airport warehouse"
CRM = "Sandbox CRM"
AIRPORTS = "Airports to sandbox CRM"
COUNTRIES = "Countries to sandbox CRM"
_CATEGORIES = {
    "airport": "airport",
    "aerodrome": "airport",
    "field": "airfield",
    "airfield": "airfield",
    "station": "airfield",
    "airpark": "airpark",
    "park": "airpark",
    "airstrip": "airstrip",
    "strip": "airstrip",
    "base": "military",
    "airbase": "military",
    "heliport": "heliport",
}

AIRPORT_MAPPING: tuple[dict[str, Any], ...] = (
    {"destination_field": "code", "column": "code", "is_key": True, "is_required": True},
    {"destination_field": "name", "column": "name", "options": {"trim": True}},
    {
        "destination_field": "label",
        "kind": MappingKind.TEMPLATE,
        "template": "{{ name }}, {{ city | default: subdivision }}, {{ country }}",
    },
    {"destination_field": "category", "column": "site_type", "type": FieldType.ENUM, "options": {"map": _CATEGORIES}},
    {"destination_field": "iata", "column": "iata", "on_null": OnNull.OMIT},
    {
        "destination_field": "address.city",
        "kind": MappingKind.TEMPLATE,
        "template": "{{ city | default: subdivision }}",
        "options": {"trim": True, "empty_as_null": True},
    },
    {"destination_field": "address.subdivision", "column": "subdivision", "on_null": OnNull.OMIT},
    {"destination_field": "address.country", "column": "country"},
    {"destination_field": "location.latitude", "column": "latitude", "type": FieldType.DECIMAL, "options": {"scale": 6}},
    {"destination_field": "location.longitude", "column": "longitude", "type": FieldType.DECIMAL, "options": {"scale": 6}},
    {"destination_field": "elevation_ft", "column": "elevation_ft", "type": FieldType.DECIMAL, "options": {"scale": 1}},
    {"destination_field": "timezone", "column": "timezone"},
    {"destination_field": "is_commercial", "column": "is_commercial", "type": FieldType.BOOLEAN},
    {"destination_field": "security_zone", "column": "security_zone", "on_null": OnNull.OMIT},
    {"destination_field": "source_updated_at", "column": "updated_at", "type": FieldType.TIMESTAMP},
    {"destination_field": "tags[]", "kind": MappingKind.CONSTANT, "constant": "warehouse"},
)
COUNTRY_MAPPING: tuple[dict[str, Any], ...] = (
    {"destination_field": "code", "column": "code", "is_key": True, "is_required": True},
    {"destination_field": "name", "column": "name", "on_null": OnNull.OMIT},
    {"destination_field": "region", "column": "region"},
    {"destination_field": "airport_count", "column": "airport_count", "type": FieldType.INTEGER},
)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the demo keeps its files."""

    folder: Path

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.sqlite3"

    @property
    def crm(self) -> Path:
        return self.folder / "crm.sqlite3"

    @property
    def logins(self) -> Path:
        return self.folder / "logins.json"


@dataclass(frozen=True, slots=True)
class Demo:
    admin: AbstractUser
    airports: Sync
    countries: Sync
    logins: dict[str, str]  # user name -> password, as far as it is still the one we gave


def paths() -> Paths:
    return Paths(Path(settings.VAR_DIR).resolve() / "demo")


def crm_port() -> int:
    """The port the CRM had last time, so that its address stays; the usual one at first."""
    found = Connection.objects.filter(name=CRM).first()
    return crm_connection.port_of(found.config) if found else crm_connection.USUAL_PORT


@transaction.atomic
def prepare(*, crm_address: str) -> Demo:
    """Make what is missing. Only the CRM connection's address is brought up to date; all else stays as it was edited."""
    logins = _users()
    admin = get_user_model().objects.get(username="admin")
    source = _warehouse()
    crm = _crm(crm_address)
    countries = _sync(
        COUNTRIES,
        COUNTRY_MAPPING,
        source=source,
        destination=crm,
        owner=admin,
        query="SELECT code, name, region, airport_count\nFROM countries",
        destination_object="countries",
        description="The countries that airports refer to. Runs before the airports.",
    )
    airports = _sync(
        AIRPORTS,
        AIRPORT_MAPPING,
        source=source,
        destination=crm,
        owner=admin,
        query=(
            "SELECT code, iata, name, city, subdivision, country, latitude, longitude,\n"
            "       elevation_ft, timezone, site_type, is_commercial, security_zone, updated_at\n"
            "FROM airports"
        ),
        destination_object="airports",
        description="28 thousand real airports, with the gaps and duplicates of the real world.",
    )
    return Demo(admin=admin, airports=airports, countries=countries, logins=logins)


def _users() -> dict[str, str]:
    """Create ``admin`` and ``support`` where missing; returns the passwords that still hold."""
    model = get_user_model()
    kept = _read_logins()
    for name in ("admin", "support"):
        if not model.objects.filter(username=name).exists():
            kept[name] = secrets.token_urlsafe(9)
            create = model.objects.create_superuser if name == "admin" else model.objects.create_user
            user = create(username=name, email="", password=kept[name], is_staff=True)
            if name == "support":
                user.groups.add(Group.objects.get(name=roles.group_name(name)))
    _write_logins(kept)
    users = {user.get_username(): user for user in model.objects.filter(username__in=kept)}
    return {name: password for name, password in kept.items() if name in users and users[name].check_password(password)}


def _read_logins() -> dict[str, str]:
    try:
        found = json.loads(paths().logins.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(password) for name, password in found.items()} if isinstance(found, dict) else {}


def _write_logins(logins: dict[str, str]) -> None:
    path = paths().logins
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(logins, indent=1) + "\n")


def _warehouse() -> Connection:
    connection, _ = Connection.objects.get_or_create(
        name=WAREHOUSE,
        defaults={
            "role": ConnectionRole.SOURCE,
            "kind": "sqlite",
            "config": {"path": str(paths().warehouse)},
            "description": "Real airports in a SQLite file; stands for a warehouse.",
        },
    )
    return connection


def _crm(address: str) -> Connection:
    connection, is_new = Connection.objects.get_or_create(
        name=CRM,
        defaults={
            "role": ConnectionRole.DESTINATION,
            "kind": "http",
            "config": crm_connection.config(address),
            "secrets": crm_connection.secrets(),
            "description": "A practice CRM on this machine, a process of its own.",
        },
    )
    moved = crm_connection.moved(connection.config, address)
    if not is_new and moved != connection.config:
        connection.config = moved
        connection.save(update_fields=["config", "updated_at"])
    return connection


def _sync(name: str, mapping: tuple[dict[str, Any], ...], **values: Any) -> Sync:
    sync, is_new = Sync.objects.get_or_create(
        name=name,
        defaults={
            "key_columns": "code",
            "mode": SyncMode.UPSERT,
            "detection": Detection.CHANGED_ROWS,
            "schedule_kind": ScheduleKind.INTERVAL,
            "interval_minutes": 60,
            **values,
        },
    )
    if is_new:
        FieldMapping.objects.bulk_create(
            FieldMapping(sync=sync, position=position, **field) for position, field in enumerate(mapping)
        )
        schedules.reschedule(sync)
    return sync
