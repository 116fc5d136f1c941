"""The form of an alert rule: its condition is fixed, so it has that condition's limit and nothing else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from dlq.services.group_acts import checked_url
from dlq.services.moves import ActRefusedError
from monitoring.choices import PLATFORM, Condition
from monitoring.models import AlertRule, Channel
from monitoring.services import people, rule_draft, rule_words
from monitoring.services.rule_draft import TARGETS
from syncs.models import Connection, Sync, Tag
from syncs.services import access

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    _ModelForm = forms.ModelForm[AlertRule]
else:
    _ModelForm = forms.ModelForm


class RuleForm(_ModelForm):
    """``limit``: the one number of the condition, empty for each sync's own threshold."""

    limit = forms.DecimalField(required=False, min_value=0)
    runbook_url = forms.CharField(required=False, max_length=500, widget=forms.URLInput)
    seen_at = forms.DateTimeField(required=False, widget=forms.HiddenInput)

    scope = forms.ChoiceField(choices=[(one.value, label) for one, label in rule_words.SCOPES.items()])

    class Meta:
        model = AlertRule
        fields: ClassVar = [
            *("name", "scope", "sync", "connection", "tag", "window", "severity", "channels"),
            *("is_active", "tells_recovery", "owner", "runbook_url"),
        ]
        widgets: ClassVar = {"channels": forms.CheckboxSelectMultiple}

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.condition = Condition(self.instance.condition)
        self.about = rule_words.ABOUT[self.condition]
        owners = [one.pk for one in people.able()] + [self.instance.owner_id or 0]
        choices: dict[str, QuerySet[Any]] = {
            "sync": access.scoped(Sync.objects.active().order_by("name"), user, by="pk"),
            "connection": Connection.objects.order_by("name"),
            "tag": Tag.objects.order_by("name"),
            "channels": Channel.objects.order_by("name"),
            "owner": get_user_model()._default_manager.filter(pk__in=owners).order_by("username"),
        }
        for name, queryset in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ModelChoiceField)
            field.queryset = queryset
        self._shape()

    def _shape(self) -> None:
        limit = self.about.limit
        if limit is None:
            del self.fields["limit"]
        elif not self.is_bound:
            self.initial["limit"] = limit.of(self.instance.limits)
        if not self.about.window:
            del self.fields["window"]
        if self.condition in PLATFORM:
            for name in ("scope", *TARGETS.values()):
                del self.fields[name]
        if self.instance.pk and not self.is_bound:
            self.initial["seen_at"] = self.instance.updated_at.isoformat()

    @property
    def default(self) -> str:
        """What an empty limit means, in a sentence."""
        return rule_words.default(self.condition)

    def clean_limit(self) -> float | None:
        limit = self.about.limit
        try:
            return None if limit is None else rule_draft.limit_value(limit, self.cleaned_data["limit"])
        except ActRefusedError as refusal:
            raise forms.ValidationError(str(refusal)) from refusal

    def clean_runbook_url(self) -> str:
        try:
            return checked_url(self.cleaned_data["runbook_url"] or "")
        except ActRefusedError as refusal:
            raise forms.ValidationError(str(refusal)) from refusal

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        scope = values.get("scope")
        for of, name in TARGETS.items():
            if name not in self.fields:
                continue
            if scope == of and not values.get(name) and name not in self.errors:
                self.add_error(name, f"Choose the {name} that the rule is for, or another scope.")
            if scope != of:
                values[name] = None
        return values

    def rule(self) -> AlertRule:
        """The rule as the form has it, not saved."""
        made = self.save(commit=False)
        limit = self.about.limit
        if limit is not None:
            made.limits = rule_draft.limits(limit, self.cleaned_data.get("limit"))
        return made
