"""The form of a connection, made from the settings its kind declares (``FIELDS``). Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from syncs.admin.form_fields import ObjectField
from syncs.connectors import ConfigField, Issue
from syncs.models import Connection
from syncs.services import connection_saving, connections
from syncs.services.connection_kinds import declared, kind_label, kinds

CONFIG, SECRET, CLEAR = "config__", "secret__", "clear__"

__all__ = ["ConnectionForm", "declared", "form_class", "initial", "kind_label", "kinds", "names", "save", "stored_names"]


if TYPE_CHECKING:
    from django.contrib.auth.models import User

    _Form = forms.ModelForm[Connection]
else:
    _Form = forms.ModelForm


class ConnectionForm(_Form):
    expires_on = forms.DateField(
        required=False,
        label="Expires on",
        help_text="Where you know when a key or token ends: from some days before, the connection and its syncs warn.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    role: str
    kind: str
    settings: tuple[ConfigField, ...] = ()

    class Meta:
        model = Connection
        fields = ("name", "description")
        widgets: ClassVar = {"description": forms.Textarea(attrs={"rows": 2, "class": "rd-wide"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._take_values(cleaned)
        if not self.errors:
            for issue in connections.validate(self.instance):
                self._show(issue)
        return cleaned

    def _take_values(self, cleaned: dict[str, Any]) -> None:
        """Settings that the kind does not declare stay as they are: another tool may have put them there."""
        self.instance.role, self.instance.kind = self.role, self.kind
        config = dict(self.instance.config or {})
        secrets = {} if connections.unreadable(self.instance) else dict(self.instance.secrets or {})
        self.new_secrets: dict[str, Any] = {}
        self.cleared: set[str] = set()
        for setting in self.settings:
            if setting.is_secret:
                self._take_secret(setting.name, cleaned, secrets)
                continue
            value = cleaned.get(CONFIG + setting.name)
            if value is None or value in ("", {}, []):
                config.pop(setting.name, None)
            else:
                config[setting.name] = value
        self.instance.config, self.instance.secrets = config, secrets

    def _take_secret(self, name: str, cleaned: dict[str, Any], secrets: dict[str, Any]) -> None:
        if value := cleaned.get(SECRET + name):
            secrets[name] = self.new_secrets[name] = value
        elif cleaned.get(CLEAR + name):
            secrets.pop(name, None)
            self.cleared.add(name)

    def _show(self, issue: Issue) -> None:
        first, _, rest = issue.field.partition(".")
        for prefix in (CONFIG, SECRET):
            if prefix + first in self.fields:
                self.add_error(prefix + first, f"{rest}: {issue.message}" if rest else issue.message)
                return
        self.add_error(None, f"{issue.field}: {issue.message}" if issue.field else issue.message)


def form_class(role: str, kind: str, stored_secrets: Iterable[str]) -> type[ConnectionForm]:
    settings = declared(role, kind)
    stored = set(stored_secrets)
    fields: dict[str, Any] = {}
    for setting in settings:
        if setting.is_secret:
            fields.update(_secret_fields(setting, is_set=setting.name in stored))
        else:
            fields[CONFIG + setting.name] = _field(setting)
    return type("ConnectionForm", (ConnectionForm,), {"role": role, "kind": kind, "settings": settings, **fields})


def stored_names(connection: Connection | None) -> tuple[str, ...]:
    """Names of the secrets that are set; none where they cannot be opened, so that the form asks for them anew."""
    return () if connection is None or connections.unreadable(connection) else tuple(connection.secrets or {})


def names(form: type[ConnectionForm]) -> tuple[list[str], list[str]]:
    """(names of the settings, names of the secrets and their clear boxes), in the kind's order."""
    base: dict[str, Any] = form.base_fields
    return [n for n in base if n.startswith(CONFIG)], [n for n in base if n.startswith((SECRET, CLEAR))]


def initial(form: type[ConnectionForm], connection: Connection | None) -> dict[str, Any]:
    config = connection.config if connection else {}
    ends_at = connection.credential_expires_at if connection else None
    settings = {CONFIG + s.name: config.get(s.name, s.default) for s in form.settings if not s.is_secret}
    return {**settings, "expires_on": ends_at.date() if ends_at else None}


def _field(setting: ConfigField) -> forms.Field:
    shared: dict[str, Any] = {"label": setting.label, "help_text": setting.help, "required": setting.is_required}
    if setting.type == "integer":
        return forms.IntegerField(**shared)
    if setting.type == "boolean":
        return forms.BooleanField(**{**shared, "required": False})
    if setting.type == "choice":
        empty = [] if setting.is_required else [("", "---------")]
        return forms.ChoiceField(choices=[*empty, *setting.choices], **shared)
    if setting.type == "json":
        widget = forms.Textarea(
            attrs={"rows": 16 if setting.is_required else 4, "class": "rd-code rd-wide", "spellcheck": "false"}
        )
        return ObjectField(is_any=True, widget=widget, **shared)
    return forms.CharField(widget=forms.TextInput(attrs={"class": "vTextField"}), **shared)


def _secret_fields(setting: ConfigField, *, is_set: bool) -> dict[str, forms.Field]:
    state = "Set. Leave empty to keep it." if is_set else "Not set."
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"})
    found: dict[str, forms.Field] = {
        SECRET + setting.name: forms.CharField(
            label=setting.label,
            required=setting.is_required and not is_set,
            strip=False,
            widget=widget,
            help_text=f"{state} {setting.help}".strip(),
        )
    }
    if is_set and not setting.is_required:
        found[CLEAR + setting.name] = forms.BooleanField(required=False, label=f"Remove the stored {setting.label.lower()}")
    return found


def save(connection: Connection, form: ConnectionForm, *, change: bool, by: User) -> None:
    connection_saving.take_expiry(connection, form.cleaned_data.get("expires_on"))
    if not change:
        connection_saving.create(connection, by=by, door="admin")
        return
    secrets = connection_saving.NewSecrets(form.new_secrets, frozenset(form.cleared))
    connection_saving.change(connection, secrets, by=by, door="admin")
