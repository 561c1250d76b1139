"""The status a pool shall have, and when it is worth a write.

Status says what changes rarely: integers, conditions, reasons. The two desired numbers and the conditions that tools
wait for (Ready, Stalled) are written at once; all else waits until the last write is `WRITE_INTERVAL` old, so that a
pool that is busy starting pods costs one write per interval. Equal status is never written.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fluxpool_operator.api import ColdStart, Condition, Mode, Numbers, Status
from fluxpool_operator.reconcile.conditions import READY, STALLED, findings, stamped, timestamp
from fluxpool_operator.reconcile.facts import Facts
from fluxpool_operator.reconcile.sizing import running_batch_size
from fluxpool_operator.reconcile.upgrade import in_use
from fluxpool_operator.resources import selector

WRITE_INTERVAL: Final = timedelta(seconds=10)


def status_of(facts: Facts) -> Status:
    """The whole status, as it shall be."""
    before, pool, wanted = facts.pool.status, facts.pool, facts.wanted
    generation = pool.metadata.generation
    return Status(
        observed_generation=generation,
        replicas=facts.deployment.existing if facts.deployment else 0,
        ready_replicas=sum(pod.ready for pod in facts.pods),
        selector=",".join(f"{key}={value}" for key, value in selector(pool.name).items()),
        desired=Numbers(replicas=wanted.replicas, batch_size=wanted.batch_size),
        recommended=_recommended(facts),
        batch_size=running_batch_size(facts.pods, facts.snapshot.batch_sizes),
        cold_start=_cold_start(facts),
        last_scale_time=_last_scale_time(before, wanted.replicas, facts.now),
        template=in_use(pool, facts.template),
        conditions=list(stamped(findings(facts), before.conditions or (), generation, facts.now)),
    )


def patch(before: Status, after: Status) -> Mapping[str, Any] | None:
    """A JSON merge patch (RFC 7386) from one status to the other; None if they are equal."""
    return _merge_patch(_to_wire(before), _to_wire(after)) or None


def is_urgent(before: Status, after: Status) -> bool:
    """Whether the change cannot wait: somebody or something acts on it."""
    return before.desired != after.desired or any(
        _verdict(before.condition(kind)) != _verdict(after.condition(kind)) for kind in (READY, STALLED)
    )


def write_delay(written_at: datetime | None, now: datetime) -> timedelta:
    """How long a change that is not urgent must still wait."""
    if written_at is None:
        return timedelta(0)
    return max(timedelta(0), WRITE_INTERVAL - (now - written_at))


def _verdict(condition: Condition | None) -> tuple[str, str] | None:
    return (condition.status, condition.reason) if condition else None


def _recommended(facts: Facts) -> Numbers | None:
    """Shown only in mode Recommend; kept while a restarted operator has none yet."""
    outcome, spec = facts.snapshot.outcome, facts.pool.spec
    if Mode.RECOMMEND not in {spec.scaling.mode, spec.batching.mode}:
        return None
    if outcome is None:
        return facts.pool.status.recommended
    if outcome.recommended_replicas is None and outcome.recommended_batch_size is None:
        return None
    return Numbers(replicas=outcome.recommended_replicas, batch_size=outcome.recommended_batch_size)


def _cold_start(facts: Facts) -> ColdStart | None:
    """The autoscaler's figures in whole seconds, rounded up: a plan must not be early."""
    seen = facts.snapshot.outcome.cold_start if facts.snapshot.outcome else None
    if seen is None:
        return facts.pool.status.cold_start
    return ColdStart(
        p50_seconds=math.ceil(seen.p50_seconds),
        p90_seconds=math.ceil(seen.p90_seconds),
        p99_seconds=math.ceil(seen.p99_seconds),
    )


def _last_scale_time(before: Status, replicas: int, now: datetime) -> str | None:
    known = before.desired.replicas if before.desired else None
    return before.last_scale_time if known in {None, replicas} else timestamp(now)


def _to_wire(status: Status) -> dict[str, Any]:
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")


def _merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            inner = _merge_patch(before[key], value)
            if inner:
                changed[key] = inner
        elif key not in before or before[key] != value:
            changed[key] = value
    return changed
