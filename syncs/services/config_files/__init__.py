"""Configuration in files: syncs and connections as YAML, out of the database and into it. See docs/config-as-code.md."""

from syncs.services.config_files.applying import apply
from syncs.services.config_files.checking import Known, check
from syncs.services.config_files.comparing import Change
from syncs.services.config_files.exporting import Exported, export, one_text, used_by
from syncs.services.config_files.planning import Action, Item, Plan, matched
from syncs.services.config_files.reading import MOST_BYTES, Problem
from syncs.services.config_files.references import Environment
from syncs.services.config_files.uploads import packed, refuse_large, unpacked

__all__ = [
    "MOST_BYTES",
    "Action",
    "Change",
    "Environment",
    "Exported",
    "Item",
    "Known",
    "Plan",
    "Problem",
    "apply",
    "check",
    "export",
    "matched",
    "one_text",
    "packed",
    "refuse_large",
    "unpacked",
    "used_by",
]
