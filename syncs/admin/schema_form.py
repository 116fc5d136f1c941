"""The form by which a person types the fields of an object whose destination does not tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from syncs.destinations.base import Field
from syncs.engine import schema_fields
from syncs.models import SchemaSnapshot
from syncs.services import schemas

if TYPE_CHECKING:
    _BaseFormSet = forms.BaseFormSet["FieldForm"]
else:
    _BaseFormSet = forms.BaseFormSet

MOST = 400
BLANK = 5
_TYPES = ("", "string", "integer", "decimal", "boolean", "date", "timestamp", "enum", "array", "json")


class FieldForm(forms.Form):
    use_required_attribute = False
    name = forms.CharField(max_length=schema_fields.MAX_NAME, widget=forms.TextInput(attrs={"aria-label": "Name"}))
    type = forms.ChoiceField(required=False, widget=forms.Select(attrs={"aria-label": "Type"}))
    is_required = forms.BooleanField(required=False, widget=forms.CheckboxInput(attrs={"aria-label": "Required"}))
    is_key = forms.BooleanField(required=False, widget=forms.CheckboxInput(attrs={"aria-label": "Key"}))
    is_read_only = forms.BooleanField(required=False, widget=forms.CheckboxInput(attrs={"aria-label": "Read-only"}))
    max_length = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=schema_fields.MAX_LENGTH,
        widget=forms.NumberInput(attrs={"aria-label": "At most"}),
    )
    options = forms.CharField(
        required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 1, "aria-label": "Allowed values, one a line"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known: list[str] = [*_TYPES]
        if (given := str((self.initial or {}).get("type", ""))) not in known:
            known.append(given)  # a destination's own word, kept as it is
        typed: Any = self.fields["type"]
        typed.choices = [(word, word or "not known") for word in known]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("The name holds a character that cannot be printed. Type it anew.")
        return name

    def field(self) -> Field:
        values = self.cleaned_data
        return Field(
            name=values["name"],
            type=values["type"],
            is_required=values["is_required"],
            is_key=values["is_key"],
            max_length=values["max_length"],
            options=tuple(dict.fromkeys(line.strip() for line in values["options"].splitlines() if line.strip())),
            is_writable=not values["is_read_only"],
        )


class _Formset(_BaseFormSet):
    messages: ClassVar = {"none": "Type at least one field."}

    def clean(self) -> None:
        if not any(self.errors) and not typed(self):
            raise forms.ValidationError(self.messages["none"])


FieldFormset = forms.formset_factory(
    FieldForm, formset=_Formset, extra=BLANK, can_delete=True, max_num=MOST, absolute_max=MOST, validate_max=True
)


def initial(snapshot: SchemaSnapshot | None) -> list[dict[str, Any]]:
    """The fields as they are kept, to go on from; none where there are more than the form holds."""
    if snapshot is None or len(snapshot.fields) > MOST - BLANK:
        return []
    return [
        {
            "name": field.name,
            "type": field.type,
            "is_required": field.is_required,
            "is_key": field.is_key,
            "is_read_only": not field.is_writable,
            "max_length": field.max_length,
            "options": "\n".join(field.options),
        }
        for field in schemas.fields(snapshot)
    ]


def typed(formset: Any) -> Sequence[Field]:
    """The fields of a valid formset, without those that were taken out or left empty."""
    gone = set(map(id, formset.deleted_forms))
    return [form.field() for form in formset.forms if form.cleaned_data.get("name") and id(form) not in gone]
