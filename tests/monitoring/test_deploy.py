"""The Grafana dashboard and the Prometheus rules speak of metrics, labels and values that /metrics really has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.choices import DeliveryState, IncidentState, Severity
from monitoring.services.metrics import names, of_syncs
from syncs.choices import RUN_ACTIVE, ConnectionState, SyncStatus

ROOT = Path(__file__).resolve().parents[2]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "redrive.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "redrive.rules.yml").read_text())
DOCS = (ROOT / "docs" / "observability.md").read_text()

_METRIC = re.compile(r"\b(redrive_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
VALUES: dict[tuple[str, str], Any] = {
    ("redrive_sync_status", "status"): SyncStatus,
    ("redrive_sync_rows_total", "outcome"): of_syncs._OUTCOMES,
    ("redrive_sync_runs_total", "status"): of_syncs._RUNS,
    ("redrive_runs", "status"): RUN_ACTIVE,
    ("redrive_incidents_open", "severity"): Severity,
    ("redrive_incidents_open", "state"): IncidentState,
    ("redrive_connection_state", "state"): ConnectionState,
    ("redrive_deliveries_waiting", "state"): DeliveryState,
    ("redrive_heartbeat_timestamp_seconds", "part"): ("tick", "alerts"),
}


def expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for group in RULES["groups"] for rule in group["rules"]]
    for panel in BOARD["panels"]:
        found += [(f"panel {panel['title']}", target["expr"]) for target in panel.get("targets", ())]
    return found


def problems(expression: str) -> list[str]:
    used = _METRIC.findall(expression)
    wrong = [f"no metric {name}" for name, _ in used if name not in names.BY_NAME]
    known = {label for name, _ in used for label in getattr(names.BY_NAME.get(name), "labels", ())}
    for name, selector in used:
        labels = getattr(names.BY_NAME.get(name), "labels", ())
        for label, value in _LABEL.findall(selector):
            if label not in labels:
                wrong.append(f"{name} has no label {label}")
            elif not value.startswith("$"):
                allowed = {str(one) for one in VALUES[name, label]}
                wrong += [f"{name} has no {label} {one}" for one in value.split("|") if one not in allowed]
    grouped = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",") if label.strip()}
    return wrong + [f"nothing here has a label {label}" for label in sorted(grouped - known)]


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=[where for where, _ in expressions()])
def test_expression_asks_for_what_there_is(where: str, expression: str):
    assert _METRIC.search(expression)
    assert problems(expression) == []


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("redrive_nothing > 1", ["no metric redrive_nothing"]),
        ('redrive_sync_status{state="failing"}', ["redrive_sync_status has no label state"]),
        ('redrive_sync_status{status=~"failing|broken"}', ["redrive_sync_status has no status broken"]),
        ("max by (queue, colour) (redrive_queue_waiting_seconds)", ["nothing here has a label colour"]),
    ],
)
def test_wrong_expression_is_found(expression: str, found: list[str]):
    assert problems(expression) == found


def test_labels_in_the_words_of_a_rule_are_left_by_its_expression():
    for rule in (rule for group in RULES["groups"] for rule in group["rules"]):
        said = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        kept = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
        assert said <= kept, rule["alert"]
        assert rule["labels"]["severity"] in list(Severity)


def test_dashboard_has_no_doubled_panel_and_asks_one_data_source():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in BOARD["panels"] if "datasource" in panel} == {"${datasource}"}
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))  # no two panels overlap


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
def test_metric_is_documented(metric: names.Metric):
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
    assert f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help.rstrip('.')} |" in DOCS
