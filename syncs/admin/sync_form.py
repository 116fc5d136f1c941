"""The edit form of a sync and the table of its field mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.http import HttpRequest

from syncs.admin.form_fields import LooseValueField, ObjectField, loose_text, loose_value
from syncs.choices import ConnectionRole, Detection, MappingKind
from syncs.connectors import Issue
from syncs.models import Connection, FieldMapping, Sync
from syncs.services import sync_edits
from syncs.services.schedules import validate_schedule

if TYPE_CHECKING:
    _SyncForm = forms.ModelForm[Sync]
    _MappingForm = forms.ModelForm[FieldMapping]
    _FormSet = forms.BaseInlineFormSet[FieldMapping, Sync, "MappingForm"]
    _Inline = admin.TabularInline[FieldMapping, Sync]
else:
    _SyncForm = _MappingForm = forms.ModelForm
    _FormSet, _Inline = forms.BaseInlineFormSet, admin.TabularInline

_NARROW = {"cols": 24, "rows": 1}


class _OpenedField(forms.CharField):
    """What the sync was when its form was opened; no setting of it."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class SyncForm(_SyncForm):
    """``issues``: what the deep check found (the query against the warehouse, the mapping against its columns).

    A sync that somebody else has saved meanwhile is not overwritten unknowingly: it is said, and the next save does it.
    """

    issues: Sequence[Issue] = ()

    opened = _OpenedField(required=False, widget=forms.HiddenInput)

    destination_options = ObjectField(
        required=False,
        label="Object settings",
        widget=forms.Textarea(attrs={"rows": 3, "class": "rd-code rd-wide", "spellcheck": "false"}),
        help_text="Settings of this object beyond the connection's, as a JSON object. Usually empty.",
    )

    class Meta:
        model = Sync
        fields = "__all__"
        widgets: ClassVar = {
            "query": forms.Textarea(attrs={"rows": 12, "class": "rd-code rd-wide", "spellcheck": "false"}),
            "description": forms.Textarea(attrs={"rows": 2, "class": "rd-wide"}),
            "tags": forms.CheckboxSelectMultiple,
        }
        labels: ClassVar = {
            "destination_object": "Object",
            "schedule_kind": "Runs",
            "interval_minutes": "Minutes between runs",
            "cron": "Cron expression",
            "timezone": "Time zone",
            "overlap_policy": "If the last run is still live",
            "detection": "What counts as changed",
            "on_mapping_error": "If a value cannot be mapped",
            "delete_guard_percent": "Delete guard, percent",
            "delete_guard_rows": "Delete guard, rows",
            "batch_records": "Records per batch",
            "max_attempts": "Attempts per batch",
            "retry_budget_seconds": "Retry budget (s)",
            "breaker_threshold": "Failed batches that stop a run",
            "cursor_overlap_seconds": "Cursor overlap (s)",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        for name, role in (("source", ConnectionRole.SOURCE), ("destination", ConnectionRole.DESTINATION)):
            if name in self.fields:
                self.fields[name].queryset = Connection.objects.filter(role=role)  # type: ignore[attr-defined]
        if self.instance.pk and not self.is_bound:
            self.initial["opened"] = sync_edits.digest(self.instance)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._refuse_stale(cleaned.get("opened", ""))
        for issue in [*self._shallow(cleaned), *self.issues]:
            field = issue.field.split(".")[0].split("[")[0]
            if field in self.fields:
                self.add_error(field, issue.message)
            else:
                self.add_error(None, f"{issue.field}: {issue.message}" if issue.field else issue.message)
        return cleaned

    def _refuse_stale(self, opened: str) -> None:
        now = sync_edits.digest(self.instance) if self.instance.pk and opened else opened
        if now != opened:
            self.add_error(
                None,
                "Somebody else saved this sync since you opened this page. Nothing of yours is saved yet: open the page again "
                "to begin from theirs, or save once more to put what stands here in its place.",
            )
            self.data = self.data.copy()  # type: ignore[attr-defined]
            self.data[self.add_prefix("opened")] = now  # type: ignore[index]

    def _shallow(self, cleaned: dict[str, Any]) -> list[Issue]:
        """What the database's constraints would refuse in words of their own."""
        found = []
        if "schedule_kind" in cleaned:
            found = validate_schedule(
                cleaned["schedule_kind"], cleaned.get("interval_minutes"), cleaned.get("cron", ""), cleaned.get("timezone", "")
            )
        if cleaned.get("detection") == Detection.WATERMARK and not cleaned.get("cursor_column"):
            found.append(Issue("cursor_column", "Watermark detection needs a cursor column, for example updated_at."))
        found += [Issue(name, "Must be at least 1.") for name in ("batch_records", "max_attempts") if cleaned.get(name) == 0]
        known = {issue.field for issue in self.issues}
        return [issue for issue in found if issue.field not in known]


class MappingForm(_MappingForm):
    """One line of the mapping. ``value`` is the column's name, the constant or the template, as ``kind`` says."""

    value = forms.CharField(
        required=False,
        strip=False,
        label="Value",
        widget=forms.Textarea(attrs={**_NARROW, "class": "rd-code"}),
        help_text="The column's name, the constant, or a Liquid template such as {{ first }} {{ last | upcase }}.",
    )
    default = LooseValueField(required=False, widget=forms.TextInput(attrs={"size": 10}))
    options = ObjectField(
        required=False,
        widget=forms.Textarea(attrs={**_NARROW, "cols": 16, "class": "rd-code", "spellcheck": "false"}),
        help_text='Per type, as JSON: {"max_length": 80}, {"scale": 2}, {"values": ["a", "b"]}.',
    )

    class Meta:
        model = FieldMapping
        fields = (
            "position",
            "destination_field",
            "kind",
            "value",
            "type",
            "options",
            "on_null",
            "default",
            "is_required",
            "is_key",
        )
        widgets: ClassVar = {
            "destination_field": forms.TextInput(attrs={"size": 20}),
            "position": AdminIntegerFieldWidget(attrs={"class": "rd-position", "min": 0}),
        }
        labels: ClassVar = {
            "position": "No.",
            "destination_field": "Destination field",
            "kind": "From",
            "on_null": "If empty",
            "is_required": "Required",
            "is_key": "Key",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # the table's headings are not labels to a screen reader
            field.widget.attrs["aria-label"] = str(field.label or name)
        mapping = self.instance
        if mapping.pk:
            texts = {MappingKind.COLUMN: mapping.column, MappingKind.TEMPLATE: mapping.template}
            self.initial["value"] = texts.get(MappingKind(mapping.kind), loose_text(mapping.constant))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind, value = cleaned.get("kind"), cleaned.get("value") or ""
        if kind in (MappingKind.COLUMN, MappingKind.TEMPLATE) and not value.strip() and cleaned.get("destination_field"):
            what = "Name the column of the query." if kind == MappingKind.COLUMN else "Write the template."
            self.add_error("value", what)
        mapping = self.instance
        mapping.column = value.strip() if kind == MappingKind.COLUMN else ""
        mapping.template = value if kind == MappingKind.TEMPLATE else ""
        mapping.constant = loose_value(value) if kind == MappingKind.CONSTANT and value else None
        return cleaned


class MappingFormSet(_FormSet):
    """``issues``: what the deep check found in the lines, by the prefix of their forms."""

    def __init__(self, *args: Any, issues: Mapping[str, Sequence[Issue]] | None = None, **kwargs: Any) -> None:
        self.issues = issues or {}
        super().__init__(*args, **kwargs)

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            for issue in self.issues.get(form.prefix or "", ()):
                field = "value" if issue.field in ("column", "template", "constant") else issue.field
                form.add_error(field if field in form.fields else None, issue.message)
        seen: set[str] = set()
        for form in self.forms:
            name = form.cleaned_data.get("destination_field") if hasattr(form, "cleaned_data") else None
            if not name or form.cleaned_data.get("DELETE"):
                continue
            if name in seen:
                form.add_error("destination_field", f"“{name}” is mapped twice. Keep one of the two lines.")
            seen.add(name)

    def number_lines(self) -> None:
        """Lines that were added without a number of their own come last, in the order in which they were written."""
        unnumbered = [form for form in self.extra_forms if form.has_changed() and "position" not in form.changed_data]
        numbered = [form for form in self.forms if form not in unnumbered and (form.has_changed() or form.instance.pk)]
        first = max((form.instance.position + 1 for form in numbered), default=0)
        for position, form in enumerate(unnumbered, first):
            form.instance.position = position

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            form.fields["DELETE"].widget.attrs["aria-label"] = "Delete this line"

    def validate_unique(self) -> None:
        """``clean`` says it at the line's field."""

    def free_names(self) -> None:
        """Let renamed and deleted lines give up their names first, so that two lines may swap theirs in one save."""
        gone = {form.prefix for form in self.deleted_forms}
        lines = [form for form in self.initial_forms if form.prefix in gone or "destination_field" in form.changed_data]
        for form in lines:
            FieldMapping.objects.filter(pk=form.instance.pk).update(destination_field=f"~{form.instance.pk}")


class FieldMappingInline(_Inline):
    model = FieldMapping
    form = MappingForm
    formset: Any = MappingFormSet
    extra = 0
    verbose_name = "field"
    verbose_name_plural = "Field mapping"
    fields = MappingForm.Meta.fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("syncs.change_sync") or request.user.has_perm("syncs.add_sync"))

    has_change_permission = has_add_permission  # the mapping belongs to the sync: one right for both
    has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("syncs.view_sync"))
