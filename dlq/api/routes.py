"""Addresses below /api/v1/ and what answers there."""

from __future__ import annotations

from dlq.api.entries import DeadLetters
from dlq.api.error_rules import Applications, RulePreview, RulePreviews
from dlq.api.exports import Exports
from dlq.api.grouping_rules import GroupingRules
from dlq.api.groups import ErrorGroups
from dlq.api.imports import Imports
from dlq.api.operations import Operations
from dlq.api.run_evidence import RunEvidence
from dlq.api.saved_views import SavedViews
from syncs.rest.resources import ID, Resource

RESOURCES: list[tuple[str, type[Resource]]] = [
    (f"runs/(?P<run_id>{ID})/evidence", RunEvidence),
    ("dead-letters", DeadLetters),
    ("error-groups", ErrorGroups),
    ("error-rules/preview", RulePreviews),
    ("error-rules/applications", Applications),
    (f"error-rules/(?P<rule_id>{ID})/preview", RulePreview),
    ("grouping-rules", GroupingRules),
    ("operations", Operations),
    ("exports", Exports),
    ("saved-views", SavedViews),
    ("imports", Imports),
]
