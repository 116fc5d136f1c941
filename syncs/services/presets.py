"""Presets that can be chosen for a new connection: the product's own and those of the operator's folder."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from syncs.destinations import presets
from syncs.destinations.presets import Preset

KIND = "http"


def offered() -> tuple[list[Preset], list[str]]:
    """What can be chosen, the product's own first, and a sentence for each file of the folder that cannot be used.

    A name of the product's own is never taken over."""
    found = list(presets.shipped())
    folder = settings.RETL["PRESET_FOLDER"]
    if not folder:
        return found, []
    more, problems = presets.in_folder(Path(folder))
    taken = {preset.name for preset in found}
    problems += [f"{preset.name}.toml: the name is taken by a preset of Redrive." for preset in more if preset.name in taken]
    return found + [preset for preset in more if preset.name not in taken], problems


def named(name: str) -> Preset | None:
    return next((preset for preset in offered()[0] if preset.name == name), None)
