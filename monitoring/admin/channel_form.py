"""The form of a channel, made from the settings its kind declares. Secrets go in and never come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth import get_user_model

from monitoring.channels import registry
from monitoring.choices import Severity
from monitoring.models import Channel
from monitoring.services import channel_edit, events, people
from syncs.choices import labelled

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Channel]
else:
    _ModelForm = forms.ModelForm

CLEAR = "clear__"
_WIDE = {"class": "vTextField", "autocomplete": "off", "spellcheck": "false"}


class ChannelForm(_ModelForm):
    events = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    seen_at = forms.DateTimeField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Channel
        fields: ClassVar = ["name", "min_severity", "owner"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = self.instance.kind
        self.settings = registry.module(self.kind).FIELDS
        self.stored = channel_edit.stored_secrets(self.instance) if self.instance.pk else {}
        self.given: dict[str, Any] = {}
        self.cleared: set[str] = set()
        self.fields["min_severity"] = forms.ChoiceField(choices=labelled(Severity))
        owner = self.fields["owner"]
        assert isinstance(owner, forms.ModelChoiceField)
        ids = [one.pk for one in people.able()] + [self.instance.owner_id or 0]
        owner.queryset = get_user_model()._default_manager.filter(pk__in=ids).order_by("username")
        self._shape()

    def _shape(self) -> None:
        chosen = self.fields["events"]
        assert isinstance(chosen, forms.MultipleChoiceField)
        chosen.choices = [(event.value, f"{event.value}: {EVENT_WORDS[event]}") for event in events.CHOOSABLE]
        if self.kind != "webhook":
            del self.fields["events"]
        elif not self.is_bound:
            self.initial["events"] = self.instance.events
        for setting in self.settings:
            is_set = bool(self.stored.get(setting.name))
            required = setting.is_required and not (setting.is_secret and is_set)
            if setting.is_secret:
                widget: forms.Widget = forms.PasswordInput(attrs={**_WIDE, "autocomplete": "new-password"})
            else:
                widget = forms.TextInput(attrs=_WIDE)
            self.fields[setting.name] = forms.CharField(required=required, max_length=4000, widget=widget)
            if not self.is_bound and not setting.is_secret:
                self.initial[setting.name] = (self.instance.config or {}).get(setting.name, setting.default or "")
            if is_set and not setting.is_required and setting.name != "secret":
                self.fields[CLEAR + setting.name] = forms.BooleanField(required=False)
        if self.instance.pk and not self.is_bound:
            self.initial["seen_at"] = self.instance.updated_at.isoformat()

    def lines(self) -> list[tuple[Any, str, str, Any]]:
        """(field, label, help, box that forgets it) of the settings, in the order of the kind."""
        made = []
        for setting in self.settings:
            state = ("Set. Leave empty to keep it. " if self.stored.get(setting.name) else "") if setting.is_secret else ""
            clear = self[CLEAR + setting.name] if CLEAR + setting.name in self.fields else None
            made.append((self[setting.name], setting.label, state + setting.help, clear))
        return made

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        self.instance.events = values.get("events") or []
        if not self.errors:
            taken = channel_edit.take(self.instance, *self._written(values))
            self.instance.config, self.given, self.cleared = taken.config, taken.given, taken.cleared
            for issue in taken.issues:
                self.add_error(issue.field if issue.field in self.fields else None, issue.message)
        return values

    def _written(self, values: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        """(config, secrets); a secret that is left empty stays unless its box is ticked."""
        typed = {setting: values.get(setting.name) or "" for setting in self.settings}
        config = {setting.name: value for setting, value in typed.items() if not setting.is_secret}
        secrets = {
            setting.name: value
            for setting, value in typed.items()
            if setting.is_secret and (value or values.get(CLEAR + setting.name))
        }
        return config, secrets


EVENT_WORDS = {
    "run.finished": "a run has ended",
    "sync.status_changed": "a sync took another status",
    "group.new": "an error was seen for the first time",
    "group.regressed": "an error that was resolved came back",
    "dlq.grew": "a run left dead letters",
    "operation.finished": "a bulk operation has ended",
}
