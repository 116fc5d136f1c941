"""Saving a sync: the deep check before, the new version and the next slot after."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import unquote
from django.db import models
from django.forms import NumberInput, all_valid
from django.http import HttpRequest

from syncs.admin import acts
from syncs.connectors import Issue
from syncs.errors import RedriveError
from syncs.models import FieldMapping, Sync
from syncs.services import schedules, sync_edits, touches, versions
from syncs.services import syncs as sync_service

if TYPE_CHECKING:
    from syncs.admin.syncs import SyncAdmin

WIDGETS: dict[Any, Any] = {models.PositiveIntegerField: {"widget": NumberInput(attrs={"min": 0})}}

FIELDSETS: Any = (
    ("Name", {"fields": ("name", "description", "owner", "team", "tags")}),
    (
        "Read from",
        {"fields": ("source", "query", "key_columns"), "description": "One SELECT, read in one read-only transaction."},
    ),
    ("Write to", {"fields": ("destination", "destination_object", "mode", "destination_options")}),
    (
        "Schedule",
        {
            "fields": ("schedule_kind", "interval_minutes", "cron", "timezone", "overlap_policy"),
            "description": "Fill in the minutes or the cron expression, as the kind of schedule says.",
        },
    ),
    (
        "Changes and deletes",
        {
            "fields": (
                "detection",
                "cursor_column",
                "cursor_overlap_seconds",
                "on_mapping_error",
                "delete_guard_percent",
                "delete_guard_rows",
            ),
            "classes": ("collapse",),
            "description": "A mirror run that would delete more than both guards allow stops and asks.",
        },
    ),
    (
        "Batches and retries",
        {"fields": ("batch_records", "max_attempts", "retry_budget_seconds", "breaker_threshold"), "classes": ("collapse",)},
    ),
)


def check(page: SyncAdmin, request: HttpRequest, object_id: str | None) -> None:
    """Look at the posted sync before anything is saved, and keep what is wrong on the request, for the form to show.

    Outside the save's transaction: reading the warehouse may take seconds, and must hold no lock of ours.
    """
    sync = page.get_object(request, unquote(object_id)) if object_id else None
    if (object_id and sync is None) or not _may_save(page, request, sync):
        return
    form = page.get_form(request, sync, change=sync is not None)(request.POST, request.FILES, instance=sync)
    is_valid = form.is_valid()
    formsets, _ = page._create_formsets(request, form.instance, change=sync is not None)  # type: ignore[attr-defined]
    if all_valid(formsets) and is_valid:
        lines = _lines(formsets[0])
        issues = find_issues(form.instance, [line.instance for line in lines])
        request.sync_issues, request.line_issues = _sorted_out(issues, lines)  # type: ignore[attr-defined]


def _may_save(page: SyncAdmin, request: HttpRequest, sync: Any) -> bool:
    return page.has_change_permission(request, sync) if sync else page.has_add_permission(request)


def _lines(formset: Any) -> list[Any]:
    """The forms of the lines that will stand, in their order."""
    gone = {form.prefix for form in formset.deleted_forms}
    lines = [form for form in formset.forms if (form.has_changed() or form.instance.pk) and form.prefix not in gone]
    return sorted(lines, key=lambda form: form.instance.position)


def _sorted_out(issues: list[Issue], lines: list[Any]) -> tuple[list[Issue], dict[str, list[Issue]]]:
    """(issues of the sync itself, issues of mapping lines by the prefix of the line's form)."""
    own: list[Issue] = []
    of_lines: dict[str, list[Issue]] = {}
    for issue in issues:
        match = re.fullmatch(r"mappings\.(\d+)(?:\.(.+))?", issue.field)
        if match and int(match[1]) < len(lines):
            line = of_lines.setdefault(lines[int(match[1])].prefix, [])
            line.append(Issue(match[2] or "", issue.message))
        else:
            own.append(issue)
    return own, of_lines


def find_issues(sync: Sync, mappings: list[FieldMapping]) -> list[Issue]:
    try:
        return sync_service.validate(sync, mappings=mappings)
    except RedriveError as error:
        return [Issue(error.field, error.message)]


def settle(request: HttpRequest, form: Any) -> None:
    """After the save, in its transaction: pin the version with its author, set the next slot where the schedule changed."""
    versions.pin(form.instance, author=acts.user_of(request))
    if not form.initial.get("name") or {"schedule_kind", "interval_minutes", "cron", "timezone"} & set(form.changed_data):
        schedules.reschedule(form.instance)
    sync_edits.record(form.instance, getattr(request, "sync_before", None), by=acts.user_of(request), door="admin")
    touches.touch(form.instance.pk)
