"""The form of “My alerts”: one part for each thing to follow, and the quiet hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django import forms

from monitoring.choices import SEVERITIES, Digest, Follows, Severity
from monitoring.models import Channel
from monitoring.services.subscription_rules import Choice, Choices, Quiet
from syncs.choices import label_of, labelled

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Options = list[tuple[Any, str]]


class ChoiceForm(forms.Form):
    is_active = forms.BooleanField(required=False, label="Tell me")
    min_severity = forms.ChoiceField(label="From", choices=labelled(Severity))
    by_email = forms.BooleanField(required=False, label="By email")
    channel = forms.TypedChoiceField(required=False, coerce=int, empty_value=None)
    digest = forms.ChoiceField(label="When", choices=labelled(Digest))
    digest_hour = forms.TypedChoiceField(label="Hour", coerce=int, choices=[(hour, f"{hour:02}:00") for hour in range(24)])
    digest_weekday = forms.TypedChoiceField(label="Day", coerce=int, choices=list(enumerate(_WEEKDAYS)))

    def __init__(self, *args: Any, channels: Options, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["channel"].choices = channels  # type: ignore[attr-defined]

    def choice(self) -> Choice:
        given = self.cleaned_data
        return Choice(
            is_active=given["is_active"],
            min_severity=Severity(given["min_severity"]),
            by_email=given["by_email"],
            channel_id=given["channel"],
            digest=Digest(given["digest"]),
            digest_hour=given["digest_hour"],
            digest_weekday=given["digest_weekday"],
        )


class QuietForm(forms.Form):
    timezone = forms.CharField(label="Time zone", max_length=64, widget=forms.TextInput(attrs={"list": "rd-zones"}))
    quiet_from = forms.TimeField(required=False, label="From", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    quiet_until = forms.TimeField(required=False, label="Until", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    quiet_lets_through = forms.ChoiceField(
        label="Comes all the same, from", choices=[(one, label_of(one)) for one in reversed(SEVERITIES)]
    )
    fallback = forms.TypedChoiceField(required=False, label="The rest goes to", coerce=int, empty_value=None)

    def __init__(self, *args: Any, channels: Options, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["fallback"].choices = channels  # type: ignore[attr-defined]

    def quiet(self) -> Quiet:
        given = self.cleaned_data
        return Quiet(
            timezone=given["timezone"].strip(),
            begin=given["quiet_from"],
            end=given["quiet_until"],
            lets_through=Severity(given["quiet_lets_through"]),
            fallback_id=given["fallback"],
        )


class AlertsForm:
    """All parts. ``data`` None: filled with ``held``."""

    def __init__(self, held: Choices, channels: Iterable[Channel], data: Mapping[str, Any] | None = None) -> None:
        named = [(one.pk, f"{one.name}{'' if one.is_enabled else ' (switched off)'}") for one in channels]
        own: Options = [("", "No channel"), *named]
        fallback: Options = [("", "Nowhere: it waits for the end"), *named]
        self.parts = {
            follows: ChoiceForm(data, prefix=follows.value, initial=_initial(choice), channels=own)
            for follows, choice in held.of.items()
        }
        quiet = held.quiet
        initial = {
            "timezone": quiet.timezone,
            "quiet_from": quiet.begin,
            "quiet_until": quiet.end,
            "quiet_lets_through": quiet.lets_through,
            "fallback": quiet.fallback_id,
        }
        self.quiet = QuietForm(data, initial=initial, channels=fallback)

    def is_valid(self) -> bool:
        return min(form.is_valid() for form in (*self.parts.values(), self.quiet))  # every part says what is wrong with it

    def choices(self) -> Choices:
        return Choices({follows: form.choice() for follows, form in self.parts.items()}, self.quiet.quiet())

    def refuse(self, problems: Mapping[str, str]) -> None:
        """``problems``: by field, as ``ChoicesRefusedError`` names them."""
        for name, text in problems.items():
            prefix, dash, field = name.partition("-")
            form: forms.Form = self.parts[Follows(prefix)] if dash else self.quiet
            form.add_error(field if dash else name, text)

    @property
    def is_refused(self) -> bool:
        return any(form.is_bound and form.errors for form in (*self.parts.values(), self.quiet))


def _initial(choice: Choice) -> dict[str, Any]:
    values = asdict(choice)
    return {**values, "channel": values.pop("channel_id")}
