"""The autoscaler's two conditions in words: whether it has metrics, and what it does with the replicas.

Both are made anew at every tick, from live values; `Steady` (steady.py) lets them change only when something has.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fluxpool_autoscaler import Coverage, Decision, Limit, Mode, Observation, age_limit_seconds
from fluxpool_operator.scaling.errors import NotPolledError, PrometheusError
from fluxpool_operator.scaling.outcome import ConditionFact
from fluxpool_operator.world import PodView

FIRST_SCRAPE_SECONDS: Final = 30.0
"""How long a pod that has just become ready may lack a sample before that is a fault: the scraper has to find it first.
Where scrapes are more than ten seconds apart, three of them."""

SCALING_REASONS: Final = (
    Limit.AT_MAXIMUM,
    Limit.HELD_BY_MISSING_METRICS,
    Limit.HELD_BY_UTILIZATION,
    Limit.HELD_BY_WINDOW,
    Limit.AT_MINIMUM,
    "Scaling",
    "Steady",
)
"""Reasons of an active autoscaler, what people should know first coming first."""

_OWNED_BY_OTHERS: Final = {
    Mode.HOLD: "mode Hold: the replicas stay as they are",
    Mode.RECOMMEND: "mode Recommend: spec.replicas rules, the autoscaler only says what it would choose",
    Mode.MANUAL: "mode Manual: spec.replicas rules, the autoscaler is silent",
}


def metrics_available(
    coverage: Coverage, observation: Observation, pods: Sequence[PodView], now: datetime
) -> ConditionFact:
    """Whether every ready pod has a fresh sample; else which has not, and why."""
    if not coverage.ready:
        return ConditionFact("Unknown", "NoReadyPods", "no pod is ready, so there is nothing to measure")
    limit = age_limit_seconds(observation)
    settled = {pod.uid: pod.name for pod in pods if not _is_new(pod, now, max(FIRST_SCRAPE_SECONDS, limit))}
    for uids, reason, what in (
        (coverage.absent, "MetricsMissing", "have no series in Prometheus"),
        (coverage.ended, "MetricsMissing", "have only metrics of a process that has ended"),
        (coverage.incomplete, "MetricsMissing", "give NaN, or nothing, for a metric that scaling needs"),
        (coverage.stale, "MetricsStale", f"have only metrics older than {limit:g} s, three scrapes"),
    ):
        names = [settled[uid] for uid in uids if uid in settled]
        if names:
            said = f"{len(names)} of {coverage.ready} ready pods {what}: {_shortened(names)}"
            return ConditionFact("False", reason, said)
    if not coverage.counted:
        return ConditionFact("Unknown", "AwaitingFirstScrape", "the ready pods are new and not scraped yet")
    return ConditionFact("True", "Fresh", "the ready pods have fresh metrics")


def unavailable(error: PrometheusError) -> ConditionFact:
    """Nothing could be read at all."""
    return ConditionFact("Unknown" if isinstance(error, NotPolledError) else "False", error.reason, str(error))


def scaling_active(decision: Decision, metrics: ConditionFact) -> ConditionFact:
    """What the autoscaler does with the replicas, and why.

    Args:
        decision: the decision of now.
        metrics: the condition MetricsAvailable of now.
    """
    replicas = decision.replicas
    if replicas.mode is not Mode.AUTO:
        return ConditionFact("False", replicas.mode.value, _OWNED_BY_OTHERS[replicas.mode])
    if replicas.winner is None:
        said = f"replicas stay at {replicas.desired}: {metrics.message}"
        if metrics.status == "Unknown":
            return ConditionFact("Unknown", metrics.reason, said)
        return ConditionFact("False", "MetricsUnavailable", said)
    return ConditionFact("True", _scaling_reason(decision), _numbers(decision))


def _scaling_reason(decision: Decision) -> str:
    """The last limit applied, for that is the one that made the number; a rate is only a step on the way."""
    limits = decision.replicas.limits
    if limits and limits[-1] is not Limit.LIMITED_BY_RATE:
        return limits[-1].value
    return "Steady" if decision.coverage.ready == decision.replicas.desired else "Scaling"


def _numbers(decision: Decision) -> str:
    """Both numbers with their reasons, where the autoscaler owns them."""
    said = f"replicas {decision.replicas.desired}: {decision.replicas.reason}"
    if decision.batch_size.mode is not Mode.AUTO:
        return said
    return f"{said}; batch size {decision.batch_size.desired}: {decision.batch_size.reason}"


def _is_new(pod: PodView, now: datetime, grace_seconds: float) -> bool:
    return pod.ready_at is not None and (now - pod.ready_at).total_seconds() < grace_seconds


def _shortened(names: Sequence[str], most: int = 3) -> str:
    return ", ".join([*sorted(names)[:most], *(["…"] if len(names) > most else [])])
