"""Carries messages out: takes what is due, makes the calls, notes how each went.

A worker claims a delivery by one conditional UPDATE with a lease and a fence. Calls are made in threads that never touch the
database, one at a time for each place, so that a place that hangs keeps no other waiting. At least once: who dies between the
call and the note leaves it to the next, which repeats it under the same id.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django_q.models import OrmQ

from monitoring.channels.base import Sent
from monitoring.choices import DeliveryState
from monitoring.models import Delivery
from monitoring.services import delivery_notes, outbox
from monitoring.services.places import Call, prepare
from syncs.querysets import database_now
from syncs.services.doorbell import FAST_CLUSTER

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=90)  # a call takes a quarter of a minute at most
LANES = 8  # places that are called at the same time
WORK_SECONDS = 20.0  # of one message of the queue
WAITING = (DeliveryState.PENDING, DeliveryState.HELD, DeliveryState.SENDING)
_PAGE = 50
_MAIL = 0  # the lane of mails to people, beside the ids of channels


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process holds until its lease ends."""

    delivery: Delivery
    fence: int

    @property
    def lane(self) -> int:
        return lane_of(self.delivery)


def lane_of(delivery: Delivery) -> int:
    return delivery.channel_id or _MAIL


def due(now: datetime, *, leases: datetime | None = None) -> QuerySet[Delivery]:
    """What could be sent, longest waiting first: what an incident's place has not got yet comes before what follows it."""
    earlier = Delivery.objects.filter(
        incident=OuterRef("incident"), channel=OuterRef("channel"), user=None, pk__lt=OuterRef("pk"), state__in=WAITING
    )
    is_free = ~Q(state=DeliveryState.SENDING) | Q(lease_until__lt=leases or database_now())
    waiting = Delivery.objects.filter(is_free, state__in=WAITING, not_before__lte=now)
    return waiting.filter(Q(user__isnull=False) | ~Exists(earlier)).order_by("not_before", "pk")


# --- doors


def work(delivery_id: int) -> int:
    """Answer one doorbell: this one and whatever else is due. Returns how many calls were made.

    One worker at a time: short runs share these workers, and however many places hang, one is left for the runs.
    """
    if not Delivery.objects.filter(pk=delivery_id, state__in=WAITING).exists():
        return 0  # a message that came twice, or late
    if Delivery.objects.filter(state=DeliveryState.SENDING, lease_until__gt=database_now()).exists():
        return 0  # who is at it takes this one too, or rings for it; should it die, the tick does
    done = send_due(budget_seconds=WORK_SECONDS)
    if done and (more := due(timezone.now()).values_list("pk", flat=True).first()) is not None:
        outbox.ring(more)
    return done


def ring_due(now: datetime) -> bool:
    """On the tick: wake a worker where something is due and no message is on its way. One query when nothing is."""
    first = due(now).values_list("pk", flat=True).first()
    if first is None or OrmQ.objects.filter(key=FAST_CLUSTER, lock__lte=timezone.now()).exists():
        return False
    outbox.ring(first)
    return True


def send_due(now: datetime | None = None, *, budget_seconds: float = 60.0) -> int:
    """Send what is due, here and now; nothing new is begun after ``budget_seconds``. Returns how many calls were made."""
    return _Pass(now, budget_seconds).run()


def send_one(delivery: Delivery, now: datetime | None = None) -> Sent | None:
    """Send this one while a person waits. None: another process is at it."""
    now = now or timezone.now()
    claimed = claim(delivery, now)
    return None if claimed is None else _note(claimed, _carry(_prepared(claimed, now)), now)


# --- claims


def claim(delivery: Delivery, now: datetime) -> Claimed | None:
    """Take it, if nobody else has since it was read."""
    clock = database_now()
    as_read = Delivery.objects.filter(pk=delivery.pk, fence=delivery.fence, state__in=WAITING, not_before__lte=now)
    free = as_read.filter(~Q(state=DeliveryState.SENDING) | Q(lease_until__lt=clock))
    taken = free.update(
        state=DeliveryState.SENDING, lease_until=clock + LEASE, fence=F("fence") + 1, attempt_count=F("attempt_count") + 1
    )
    if taken != 1:
        return None
    delivery.state, delivery.attempt_count = DeliveryState.SENDING, delivery.attempt_count + 1
    return Claimed(delivery, delivery.fence + 1)


class _Pass:
    """One sending of what is due. ``closed``: lanes where a call failed; the rest of them waits for the next pass."""

    def __init__(self, now: datetime | None, budget_seconds: float) -> None:
        self._now = now
        self._until = time.monotonic() + budget_seconds
        self._flying: dict[Future[Sent], Claimed] = {}
        self._closed: set[int] = set()
        self._done = 0

    def run(self) -> int:
        claimed = self._next()
        if not claimed:
            return 0
        with ThreadPoolExecutor(max_workers=LANES, thread_name_prefix="deliver") as pool:
            while claimed or self._flying:
                for one in claimed:
                    self._begin(pool, one)
                if self._flying:
                    ended, _ = wait(self._flying, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in ended:
                        self._settle(self._flying.pop(future), future.result())
                claimed = self._next()
        return self._done

    @property
    def now(self) -> datetime:
        return self._now or timezone.now()

    def _begin(self, pool: ThreadPoolExecutor, claimed: Claimed) -> None:
        call = _prepared(claimed, self.now)
        if call.is_local:
            self._settle(claimed, _carry(call))
        else:
            self._flying[pool.submit(_carry, call)] = claimed

    def _next(self) -> list[Claimed]:
        """At most one for each free lane."""
        room = LANES - len(self._flying)
        if room <= 0 or time.monotonic() >= self._until:
            return []
        taken = {one.lane for one in self._flying.values()} | self._closed
        waiting = due(self.now).exclude(channel__in=taken - {_MAIL})
        if _MAIL in taken:
            waiting = waiting.exclude(channel=None)
        made: list[Claimed] = []
        for delivery in waiting.select_related("channel", "user")[:_PAGE]:
            if len(made) < room and lane_of(delivery) not in taken:
                taken.add(lane_of(delivery))
                claimed = claim(delivery, self.now)
                made += [claimed] if claimed else []
        return made

    def _settle(self, claimed: Claimed, sent: Sent) -> None:
        self._done += 1
        if not sent.is_delivered and claimed.lane != _MAIL:
            self._closed.add(claimed.lane)
        _note(claimed, sent, self.now)


# --- one call


def _prepared(claimed: Claimed, now: datetime) -> Call:
    try:
        return prepare(claimed.delivery, now)
    except Exception as error:
        logger.exception("Delivery %s could not be prepared.", claimed.delivery.pk)
        return Call(_always(Sent(False, error=_unforeseen(error))), is_local=True)


def _carry(call: Call) -> Sent:
    try:
        return call.make()
    except Exception as error:
        logger.exception("A call to a channel stopped by an error that nobody foresaw.")
        return Sent(False, error=_unforeseen(error))


def _note(claimed: Claimed, sent: Sent, now: datetime) -> Sent:
    try:
        delivery_notes.note(claimed.delivery, claimed.fence, sent, now)
    except Exception:  # its lease ends, and the next worker sends it again
        logger.exception("How delivery %s went could not be noted.", claimed.delivery.pk)
    return sent


def _always(sent: Sent) -> Callable[[], Sent]:
    return lambda: sent


def _unforeseen(error: Exception) -> str:
    return f"An unforeseen error ({type(error).__name__}). The worker's log has the details."
