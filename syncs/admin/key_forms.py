"""The forms of API keys and service accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from syncs.choices import Scope, labelled
from syncs.models import ServiceAccount
from syncs.services import access, service_accounts
from syncs.services.api_keys import DAYS, DAYS_MOST
from syncs.services.service_accounts import ABOUT_MOST, NAME_MOST, Wanted

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_MINE = "me"


class KeyForm(forms.Form):
    """``account`` is there for who makes keys of service accounts."""

    name = forms.CharField(max_length=120)
    scopes = forms.MultipleChoiceField(
        choices=labelled(Scope), widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one."}
    )
    days = forms.IntegerField(min_value=1, max_value=DAYS_MOST, initial=DAYS, required=False)
    is_endless = forms.BooleanField(required=False)

    def __init__(self, *args: Any, accounts: list[ServiceAccount], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.accounts = accounts
        if accounts:
            choices = [(_MINE, "Me"), *((str(one.pk), f"Service account: {one}") for one in accounts)]
            self.fields["account"] = forms.ChoiceField(choices=choices, required=False)
        else:
            del self.fields["is_endless"]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if values.get("days") is None and not values.get("is_endless") and "days" not in self.errors:
            self.add_error("days", ValidationError(f"Give 1 to {DAYS_MOST} days."))
        return values

    @property
    def days_chosen(self) -> int | None:
        return None if self.cleaned_data.get("is_endless") else self.cleaned_data["days"]

    def owner(self, by: User) -> User:
        chosen = self.cleaned_data.get("account") or _MINE
        found = next((one.user for one in self.accounts if str(one.pk) == chosen), None)
        return found or by


class AccountForm(forms.Form):
    name = forms.CharField(max_length=NAME_MOST)
    description = forms.CharField(max_length=ABOUT_MOST, required=False)
    roles = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    team_ids = forms.TypedMultipleChoiceField(required=False, coerce=int, widget=forms.CheckboxSelectMultiple)
    is_active = forms.BooleanField(required=False, initial=True)
    etag = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, by: User, account: ServiceAccount | None, **kwargs: Any) -> None:
        held = service_accounts.held(account) if account else None
        if held is not None:
            kwargs["initial"] = {
                "description": held.description,
                "roles": held.roles,
                "team_ids": held.teams,
                "is_active": held.is_active,
                "etag": service_accounts.stamp(held),
            }
        super().__init__(*args, **kwargs)
        roles, teams = self.fields["roles"], self.fields["team_ids"]
        assert isinstance(roles, forms.MultipleChoiceField)
        assert isinstance(teams, forms.TypedMultipleChoiceField)
        roles.choices = [(group.name, group.name) for group in service_accounts.roles()]
        offered = dict(access.teams_of(by).order_by("name").values_list("pk", "name"))
        if account is not None:
            offered |= {team.pk: team.name for team in account.user.teams.all()}
            del self.fields["name"]
        teams.choices = list(offered.items())

    def wanted(self) -> Wanted:
        values = self.cleaned_data
        return Wanted(values["description"], tuple(values["roles"]), tuple(values["team_ids"]), values["is_active"])
