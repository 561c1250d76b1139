"""The conditions of a pool. Each has one owner: the first three are made here, the autoscaler's two come as facts.

A problem stalls the pool if fewer pods serve than the user counts on, if it holds up a rollout, or if it keeps a child
from being written; a pool that only cannot grow further is Ready and says in that condition why. Reconciling and
Stalled exclude each other, as kstatus (Flux, Argo CD) reads them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fluxpool_operator.api import MESSAGE_LENGTH, Condition, ConditionStatus
from fluxpool_operator.reconcile.facts import Facts
from fluxpool_operator.reconcile.problems import Problem, find_problem
from fluxpool_operator.scaling.outcome import ConditionFact

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
SCALING_ACTIVE: Final = "ScalingActive"
METRICS_AVAILABLE: Final = "MetricsAvailable"

_NOT_YET: Final = ConditionFact("Unknown", "Starting", "the autoscaler has not looked at this pool yet")


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition before it has a time and a generation."""

    type: str
    fact: ConditionFact


def findings(facts: Facts) -> tuple[Finding, ...]:
    """All five conditions of a pool that could be read."""
    problem = find_problem(facts)
    stalls = facts.short or facts.former or facts.changes.foreign or facts.refusals
    stall = problem if problem and stalls else None
    outcome = facts.snapshot.outcome
    return (
        Finding(READY, _ready(facts, problem)),
        Finding(RECONCILING, _reconciling(facts, stall)),
        Finding(STALLED, _stalled(stall)),
        Finding(SCALING_ACTIVE, outcome.scaling_active if outcome else _kept(facts, SCALING_ACTIVE)),
        Finding(METRICS_AVAILABLE, outcome.metrics_available if outcome else _kept(facts, METRICS_AVAILABLE)),
    )


def invalid_spec(message: str) -> tuple[Finding, ...]:
    """What can be said of a pool that could not be read; its pods go on, and so do its other conditions."""
    return (
        Finding(RECONCILING, ConditionFact("False", "InvalidSpec", "see Stalled")),
        Finding(STALLED, ConditionFact("True", "InvalidSpec", message)),
    )


def stamped(
    found: Iterable[Finding], before: Iterable[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The findings as conditions.

    `lastTransitionTime` moves only with the status. Where status, reason and generation are as before, so is the
    message: it quotes the moment of the transition, and does not make a write of its own.
    """
    known = {condition.type: condition for condition in before}
    made = {finding.type: _stamp(finding, known.get(finding.type), generation, now) for finding in found}
    return tuple({**known, **made}.values())


def rolling_out(facts: Facts) -> bool:
    """Whether a template is on its way: pods of another one are left, or none of it serves yet.

    A change of the number of replicas is none.
    """
    return bool(facts.former) or (not facts.serving and facts.wanted.replicas > 0)


def _stamp(finding: Finding, before: Condition | None, generation: int, now: datetime) -> Condition:
    fact = finding.fact
    status = ConditionStatus(fact.status)
    if before and (before.status, before.reason, before.observed_generation) == (status, fact.reason, generation):
        return before
    return Condition(
        type=finding.type,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status is status else timestamp(now),
        reason=fact.reason,
        message=fact.message[:MESSAGE_LENGTH],
    )


def timestamp(moment: datetime) -> str:
    """As metav1.Time has it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(facts: Facts, problem: Problem | None) -> ConditionFact:
    ready, wanted = len(facts.serving), facts.wanted.replicas
    if ready and problem:
        return ConditionFact("True", problem.reason, f"{ready} of {wanted} pods serve; {problem.message}")
    if ready:
        return ConditionFact("True", "Serving", f"{ready} of {wanted} pods serve")
    if wanted == 0:
        return ConditionFact("False", "NoReplicas", "spec.replicas is 0")
    if problem:
        return ConditionFact("False", problem.reason, problem.message)
    still = sum(pod.ready for pod in facts.former)
    if still:
        return ConditionFact(
            "False", "RollingOut", f"no pod of the new template is ready yet; {still} of the former serve"
        )
    return ConditionFact("False", "Starting", f"none of {wanted} pods is ready yet")


def _reconciling(facts: Facts, stall: Problem | None) -> ConditionFact:
    if stall:
        return ConditionFact("False", "Stalled", "see Stalled")
    if facts.changes.leaving:
        gone = ", ".join(facts.changes.leaving)
        return ConditionFact("True", "WaitingForDeletion", f"{gone} of a former pool of this name must be gone first")
    if not rolling_out(facts):
        return ConditionFact("False", "UpToDate", "all pods are of the present template")
    if facts.former:
        return ConditionFact("True", "RollingOut", f"{len(facts.former)} pods of a former template are to be replaced")
    return ConditionFact("True", "Starting", "no pod of the present template serves yet")


def _stalled(stall: Problem | None) -> ConditionFact:
    if stall:
        return ConditionFact("True", stall.reason, stall.message)
    return ConditionFact("False", "Progressing", "nothing needs your help")


def _kept(facts: Facts, kind: str) -> ConditionFact:
    """The autoscaler's last word while a restarted operator has none yet."""
    before = facts.pool.status.condition(kind)
    if before is None:
        return _NOT_YET
    return ConditionFact(before.status.value, before.reason, before.message)
