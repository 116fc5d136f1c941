"""/metrics: everything that Prometheus is told, read from the database when it asks.

Nothing is counted in the processes: there are several of them, they come and go, and the tables know better. Every web process
tells the same numbers, so scraping any one of them is enough.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.registry import Collector

from monitoring.services.metrics import of_platform, of_syncs
from monitoring.services.metrics.samples import Samples


class DatabaseCollector(Collector):
    """Twelve queries however many syncs there are, and one more at a process' first scrape of a day."""

    def collect(self) -> Iterator[Family]:
        samples = Samples()
        now = timezone.now()
        of_platform.add(samples, now)
        of_syncs.add(samples, now)
        yield from samples.families()


def page(accept: str) -> tuple[bytes, str]:
    """The page and its content type: OpenMetrics or the text format, as ``accept`` asks for; text where that makes no sense."""
    try:
        encode, content_type = choose_encoder(accept)
        return encode(DatabaseCollector()), content_type
    except (TypeError, ValueError):  # a version or an escaping that does not exist
        return generate_latest(DatabaseCollector()), CONTENT_TYPE_PLAIN_0_0_4
