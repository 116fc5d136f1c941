"""Emptying the database after a test that commits, in milliseconds.

Django's own way takes most of a second on PostgreSQL: TRUNCATE makes new files for each of some sixty tables and their indexes,
and ``post_migrate`` then makes content types, permissions and roles anew. Here rows are deleted, and what ``post_migrate`` made
stays; it is put back where a test has changed it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

_MADE = (ContentType, Permission, Group, Group.permissions.through)  # by post_migrate, in the order of their references
_LAST = "dlq_entrytally"  # triggers on the entries write to it
_found: dict[str, list[tuple[Any, ...]]] = {}


def remember() -> None:
    """What the migrations left, to be there before every test."""
    _found.update(_read())


def empty() -> None:
    made = {model._meta.db_table for model in _MADE}
    tables = [name for name in connection.introspection.django_table_names(include_views=False) if name not in made]
    tables.sort(key=_LAST.__eq__)
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")  # neither triggers nor foreign keys
        for name in tables:
            cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")
        if _read() != _found:
            _put_back(cursor)


def _read() -> dict[str, list[tuple[Any, ...]]]:
    return {model._meta.db_table: list(model._default_manager.order_by("pk").values_list()) for model in _MADE}


def _put_back(cursor: Any) -> None:
    for name in reversed(_found):
        cursor.execute(f"DELETE FROM {connection.ops.quote_name(name)}")
    for model in _MADE:
        names = [field.attname for field in model._meta.concrete_fields]
        rows = [model(**dict(zip(names, row, strict=True))) for row in _found[model._meta.db_table]]
        model._default_manager.bulk_create(rows)
    ContentType.objects.clear_cache()
