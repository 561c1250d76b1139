"""From a snapshot of the world to a plan, in named steps; no IO, no clock, no log.

sizing      which two numbers count now
upgrade     which pod template the pool runs
changes     which children differ
problems    why the pool cannot go on, if so
conditions  what is said about it
status      what is written of that, and when
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from fluxpool_operator.api import Condition, ConditionStatus, FluxPool, Numbers, Status, UnreadableFluxPool
from fluxpool_operator.reconcile.changes import changes, own_deployment
from fluxpool_operator.reconcile.conditions import (
    METRICS_AVAILABLE,
    READY,
    SCALING_ACTIVE,
    STALLED,
    invalid_spec,
    rolling_out,
    stamped,
)
from fluxpool_operator.reconcile.facts import Facts
from fluxpool_operator.reconcile.plan import Plan, PlannedEvent
from fluxpool_operator.reconcile.problems import next_scheduling_deadline
from fluxpool_operator.reconcile.sizing import sizes
from fluxpool_operator.reconcile.status import is_urgent, patch, status_of, write_delay
from fluxpool_operator.reconcile.upgrade import choose_template
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import Snapshot


def reconcile(snapshot: Snapshot, now: datetime) -> Plan:
    """What is to be written so that the cluster matches the pool, and when to look again.

    Args:
        snapshot: all that is known of one pool.
        now: the present time, aware.
    """
    if isinstance(snapshot.pool, UnreadableFluxPool):
        return _report_unreadable(snapshot.pool, now)
    if snapshot.pool.terminating:
        return Plan(explanation=("the pool is being deleted: its children go with it",))
    return _plan(_gather(snapshot.pool, snapshot, now))


def _gather(pool: FluxPool, snapshot: Snapshot, now: datetime) -> Facts:
    deployment = own_deployment(pool, snapshot)
    wanted = sizes(pool, snapshot, deployment)
    template = choose_template(pool, snapshot.defaults, deployment, may_upgrade=snapshot.may_upgrade)
    return Facts(pool, snapshot, wanted, template, changes(pool, snapshot, wanted, template), deployment, now)


def _plan(facts: Facts) -> Plan:
    before, after = facts.pool.status, status_of(facts)
    change = patch(before, after)
    delay = timedelta(0) if is_urgent(before, after) else write_delay(facts.snapshot.status_written_at, facts.now)
    write_now = change is not None and not delay
    return Plan(
        status=change if write_now else None,
        events=tuple(_events(facts, before, after)) if write_now else (),
        applies=facts.changes.applies,
        deletes=facts.changes.deletes,
        desired_replicas=facts.wanted.replicas,
        desired_batch_size=facts.wanted.batch_size,
        wants_upgrade=facts.template.newer and facts.pool.spec.rollout.on_upgrade,
        rolling_out=rolling_out(facts),
        requeue_after_seconds=_requeue_after(facts, delay if change else timedelta(0)),
        explanation=tuple(_explain(facts, change if write_now else None)),
    )


def _report_unreadable(pool: UnreadableFluxPool, now: datetime) -> Plan:
    """Only the status of such a pool is touched: its pods serve on as they were."""
    generation, before = pool.metadata.generation, pool.status
    conditions = stamped(invalid_spec(pool.message), before.conditions or (), generation, now)
    after = before.model_copy(update={"conditions": list(conditions), "observed_generation": generation})
    change = patch(before, after)
    events = (PlannedEvent("Warning", "InvalidSpec", pool.message),) if change else ()
    explanation = (f"the spec cannot be read: {pool.message}",)
    return Plan(status=change, events=events, explanation=explanation)


def _requeue_after(facts: Facts, write_delay: timedelta) -> float | None:
    moments = [facts.now + write_delay] if write_delay else []
    deadline = next_scheduling_deadline(facts)
    if deadline:
        moments.append(deadline)
    return (min(moments) - facts.now).total_seconds() if moments else None


def _explain(facts: Facts, change: object) -> Iterator[str]:
    for apply in facts.changes.applies:
        yield f"{'create' if apply.creates else 'apply'} {apply.manifest['kind']}: {apply.why}"
    for delete in facts.changes.deletes:
        yield f"delete {delete.kind} {delete.name}: {delete.why}"
    for name in facts.changes.foreign:
        yield f"leave {name} alone: it is not this pool's"
    for name in facts.changes.leaving:
        yield f"wait for the end of {name}"
    if isinstance(change, dict):
        yield f"write status: {', '.join(sorted(change))}"


# ---- events ---------------------------------------------------------------------------------------------------------

_TURNS = (
    (READY, ConditionStatus.FALSE, "Ready"),
    (STALLED, ConditionStatus.TRUE, "Recovered"),
    (SCALING_ACTIVE, ConditionStatus.FALSE, "ScalingActive"),
    (METRICS_AVAILABLE, ConditionStatus.FALSE, "MetricsAvailable"),
)
"""Condition, the status that is bad, and the reason of the event when it is good again."""


def _events(facts: Facts, before: Status, after: Status) -> Iterator[PlannedEvent]:
    """The autoscaler's word on a changed number, and each condition that turned."""
    outcome = facts.snapshot.outcome
    if outcome and outcome.event and _takes_effect(outcome, before, after):
        yield PlannedEvent(outcome.event.type, outcome.event.reason, outcome.event.message)
    for kind, bad, good_again in _TURNS:
        event = _turn(before.condition(kind), after.condition(kind), bad, good_again)
        if event:
            yield event


def _takes_effect(outcome: Outcome, before: Status, after: Status) -> bool:
    """Whether this write changes a number by the autoscaler's word, not by the user's bounds, nor from nothing."""
    old, new = before.desired or Numbers(), after.desired or Numbers()
    replicas = _follows(old.replicas, new.replicas, outcome.desired_replicas)
    batch_size = _follows(old.batch_size, new.batch_size, outcome.desired_batch_size)
    return replicas or batch_size or before.recommended != after.recommended


def _follows(old: int | None, new: int | None, word: int | None) -> bool:
    return old is not None and old != new == word


def _turn(
    before: Condition | None, after: Condition | None, bad: ConditionStatus, good_again: str
) -> PlannedEvent | None:
    """A warning when a condition turns bad or is bad for another reason; a word when it is good again."""
    if after is None or after.status is ConditionStatus.UNKNOWN:
        return None
    if after.status is bad:
        same = before and (before.status, before.reason) == (after.status, after.reason)
        starting = after.type == READY and (before is None or before.status is bad)
        return None if same or starting else PlannedEvent("Warning", after.reason, after.message)
    turned_good = before is not None and before.status is bad
    return PlannedEvent("Normal", good_again, after.message) if turned_good else None
