"""Incidents: opened, joined, made graver, left, resolved and reopened as the findings of the rules in force demand.

``apply`` is part of the judgement of one sync, in its transaction. What several judgements share, an incident of a connection,
is locked here, in the order of ids. ``judging.plan`` decides, ``incident_desk`` writes down and tells people.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Max, Q

from dlq.choices import GroupState
from monitoring.choices import PLATFORM, Condition, IncidentState, Severity
from monitoring.judging.causality import ECHO_MAX, LEADS, Lead, Situation
from monitoring.judging.conditions import find
from monitoring.judging.facts import Facts, Finding
from monitoring.judging.limits import DEFAULTS, Limits
from monitoring.judging.plan import CALM, DOUBTS_AFTER, LASTING, Known, Seen, merged, plan
from monitoring.models import Incident, IncidentSync
from monitoring.services import alert_rules, incident_desk, incident_steps
from syncs.services import touches

logger = logging.getLogger(__name__)

LIVE = incident_steps.LIVE


def apply(facts: Facts, limits: Limits = DEFAULTS) -> None:
    """Bring the incidents of one sync in line with ``facts``. ``limits``: the thresholds of the sync, which stand where a rule
    names none. Call it in the transaction that holds the sync's watch."""
    seen = merged(alert_rules.found(alert_rules.active(), facts, limits, find))
    memberships = list(IncidentSync.objects.filter(sync=facts.sync_id, recovered_at=None))
    if not seen and not memberships:
        return
    with transaction.atomic():
        incidents = _locked(seen, [one.incident_id for one in memberships])
        known = _known(incidents, memberships, facts.sync_id)
        at = Situation.of(facts)
        made = plan(at, seen, known, _former(seen, facts.sync_id, facts.now))
        incident_desk.perform(made, {one.pk: one for one in incidents}, now=facts.now, sync_id=facts.sync_id)


def apply_platform(findings: Sequence[Finding], now: datetime) -> None:
    """The same for Redrive itself. ``findings``: all that is wrong now with workers and the queue; none: all is well."""
    rules = alert_rules.active().filter(condition__in=PLATFORM)
    seen = merged(alert_rules.found_in_redrive(rules, findings, now))
    with transaction.atomic():
        live = Q(condition__in=PLATFORM, state__in=LIVE)
        incidents = list(Incident.objects.select_for_update().filter(live).order_by("pk"))
        incidents += _last_of(set(seen) - {one.cause for one in incidents})
        if seen or incidents:
            made = plan(Situation(now), seen, [_as_known(one) for one in incidents])
            incident_desk.perform(made, {one.pk: one for one in incidents}, now=now)


def tend(now: datetime) -> int:
    """What ends by the clock or elsewhere: mutes, errors that somebody has dealt with, archived syncs, what has been calm for
    long enough. Called by the tick; looks at incidents that are not over only. Returns how many were seen to."""
    return _doubt(now) + sum(_tended(pk, work, now) for pk, work in _due(now))


def _doubt(now: datetime) -> int:
    """Judges syncs anew of which a person said a day ago that all is over, and nothing has happened since."""
    claimed = IncidentSync.objects.filter(
        recovered_at=None,
        incident__resolved_by__isnull=False,
        incident__state=IncidentState.RESOLVED,
        incident__resolved_at__lte=now - DOUBTS_AFTER,
        sync__is_paused=False,
        sync__is_archived=False,
    )
    sync_ids = set(claimed.values_list("sync_id", flat=True)[:500])
    touches.touch_many(sync_ids)
    return len(sync_ids)


def _due(now: datetime) -> list[tuple[int, str]]:
    live = Incident.objects.filter(state__in=LIVE)
    if not live.exists():
        return []
    settled = Q(group__state__in=(GroupState.RESOLVED, GroupState.ACKNOWLEDGED)) | Q(group__open_count=0) | Q(group=None)
    awake = live.filter(affected__recovered_at=None, affected__sync__is_paused=False, affected__sync__is_archived=False)
    calm = Q(reopened_count__gte=2, last_seen_at__lte=now - CALM)
    echoed = Q(follows__resolved_at__lte=now - ECHO_MAX)
    found = {
        "unmute": live.filter(muted_until__lte=now),
        "settle": live.filter(settled, condition__in=LASTING),
        "release": live.filter(condition__in=LASTING, follows__resolved_at__lte=now - timedelta(hours=24)),
        "archive": live.filter(affected__recovered_at=None, affected__sync__is_archived=True),
        "touch": awake.filter(calm | echoed).exclude(condition__in=LASTING),
    }
    return [(pk, work) for work, chosen in found.items() for pk in sorted(set(chosen.values_list("pk", flat=True)))]


def _tended(pk: int, work: str, now: datetime) -> bool:
    try:
        with transaction.atomic():
            incident = Incident.objects.select_for_update().filter(pk=pk, state__in=LIVE).first()
            if incident is not None:
                _TENDING[work](incident, now)
    except Exception:
        logger.exception("Incident %s could not be seen to (%s); the next tick tries again.", pk, work)
        return False
    return incident is not None


def _touch(incident: Incident, now: datetime) -> None:
    """Judge its syncs anew."""
    affected = IncidentSync.objects.filter(incident=incident, recovered_at=None).values_list("sync_id", flat=True)
    touches.touch_many(affected)


_TENDING = {
    "unmute": incident_steps.unmute,
    "settle": incident_steps.settle,
    "release": incident_steps.release,
    "archive": incident_steps.archive,
    "touch": _touch,
}


# --- what there is


def _locked(seen: Mapping[str, Seen], member_of: Sequence[int]) -> list[Incident]:
    """Incidents that are not over: those the sync is in, and those of causes found; then the last one of every other cause."""
    wanted = Q(pk__in=member_of) | Q(cause__in=list(seen))
    live = list(Incident.objects.select_for_update().filter(wanted, state__in=LIVE).order_by("pk"))
    over = Incident.objects.filter(pk__in=set(member_of) - {one.pk for one in live})
    former = {one.cause: one for one in over} if len(live) < len(member_of) else {}
    missing = set(seen) - {one.cause for one in live}
    former |= {one.cause: one for one in _last_of(missing)}
    # A newer incident of the same cause stands for one that a person had closed.
    return live + [one for cause, one in former.items() if cause not in {each.cause for each in live}]


def _last_of(causes: set[str]) -> list[Incident]:
    if not causes:
        return []
    newest = Incident.objects.filter(cause__in=causes).order_by().values("cause").annotate(last=Max("pk")).values("last")
    return list(Incident.objects.filter(pk__in=newest))


def _known(incidents: Sequence[Incident], memberships: Sequence[IncidentSync], sync_id: int) -> list[Known]:
    mine = {one.incident_id: one for one in memberships}
    shared = [one.pk for one in incidents if one.sync_id is None]
    others: dict[int, int] = {}
    if shared:
        rest = IncidentSync.objects.filter(incident__in=shared, recovered_at=None).exclude(sync=sync_id)
        others = dict(rest.order_by().values("incident").annotate(n=Count("pk")).values_list("incident", "n"))
    return [_as_known(one, mine.get(one.pk), others.get(one.pk, 0), is_platform=False) for one in incidents]


def _as_known(incident: Incident, mine: IncidentSync | None = None, others: int = 0, *, is_platform: bool = True) -> Known:
    return Known(
        id=incident.pk,
        cause=incident.cause,
        condition=Condition(incident.condition),
        severity=Severity(incident.severity),
        is_over=incident.is_over,
        is_member=mine is not None or (is_platform and not incident.is_over),
        is_by_hand=incident.resolved_by_id is not None,
        other_count=others,
        run_id=(mine.run_id if mine else None) or incident.run_id,
        ended_at=incident.resolved_at,
        last_seen_at=incident.last_seen_at,
        follows_id=incident.follows_id,
        reopened_count=incident.reopened_count,
    )


def _former(seen: Mapping[str, Seen], sync_id: int, now: datetime) -> list[Lead]:
    """What the findings may be the echo of: incidents that ended for the sync lately; and what is wrong with Redrive."""
    leads = {lead for one in seen.values() for lead in LEADS.get(one.condition, ())}
    if not leads:
        return []
    ended = IncidentSync.objects.filter(sync=sync_id, recovered_at__gt=now - ECHO_MAX, incident__condition__in=leads)
    made = [_lead(one.incident, one.recovered_at) for one in ended.select_related("incident")]
    if leads & set(PLATFORM):
        lately = Q(state__in=LIVE) | Q(resolved_at__gt=now - ECHO_MAX)
        made += [_lead(one, one.resolved_at) for one in Incident.objects.filter(lately, condition__in=PLATFORM)]
    return made


def _lead(incident: Incident, ended_at: datetime | None) -> Lead:
    return Lead(incident.cause, Condition(incident.condition), Severity(incident.severity), incident.pk, ended_at)
