"""Values for declared metrics, gathered into the families that prometheus-client writes out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family

from monitoring.services.metrics.names import METRICS, Metric


class Samples:
    """``families`` come in the order of the declarations; a metric without a value keeps its line of help."""

    def __init__(self) -> None:
        self._families = {metric.name: _family(metric) for metric in METRICS}

    def add(self, metric: Metric, value: float | Decimal | bool, *labels: object) -> None:
        self._families[metric.name].add_metric([str(label) for label in labels], float(value))

    def add_moment(self, metric: Metric, value: datetime | None, *labels: object) -> None:
        """Nothing where there is no moment."""
        if value is not None:
            self.add(metric, value.timestamp(), *labels)

    def families(self) -> Iterator[Family]:
        yield from self._families.values()


def _family(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return made(metric.name, metric.help, labels=metric.labels)
