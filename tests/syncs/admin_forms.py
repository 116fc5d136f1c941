"""Fill in and post an admin form as a browser would."""

from __future__ import annotations

from typing import Any


def posted(answer: Any) -> dict[str, Any]:
    """What a browser would send back unchanged."""
    data: dict[str, Any] = {}
    forms = [answer.context["adminform"].form]
    for inline in answer.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.initial_forms]
    for form in forms:
        for field in form:
            value = field.value()
            if value is False or value is None:
                continue
            data[field.html_name] = "on" if value is True else value
    return data


def add_line(data: dict[str, Any], **values: Any) -> None:
    """One more line of the field mapping."""
    index = int(data["mappings-TOTAL_FORMS"])
    data["mappings-TOTAL_FORMS"] = index + 1
    line = {"position": index, "kind": "column", "type": "string", "on_null": "null", "value": "", "options": "", "default": ""}
    data |= {f"mappings-{index}-{name}": value for name, value in {**line, **values}.items()}


def errors(answer: Any) -> str:
    """Every error text of the page, field names in front."""
    form = answer.context["adminform"].form
    found = [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]
    for inline in answer.context["inline_admin_formsets"]:
        found += list(inline.formset.non_form_errors())
        for line in inline.formset.forms:
            found += [f"{line.prefix}-{name}: {text}" for name, texts in line.errors.items() for text in texts]
    return "\n".join(found)
