"""From what the API server and Prometheus know of one pool to the autoscaler's observation."""

import math
from collections.abc import Iterable, Sequence

from fluxpool_autoscaler import Observation, PodObservation
from fluxpool_operator.api import FluxPool, Numbers
from fluxpool_operator.scaling.queries import PodReading, Readings
from fluxpool_operator.world import PodView


def observe(
    pool: FluxPool,
    pods: Sequence[PodView],
    current_replicas: int,
    readings: Readings,
    scrape_interval_seconds: float | None,
) -> Observation:
    """Join pods and readings by UID; a series of a UID that the API server does not know is nobody's."""
    pool_id = (pool.namespace, pool.name)
    of_pods = readings.pods.get(pool_id, {})
    return Observation(
        replicas=_replicas(pool, current_replicas),
        batch_size=_batch_size(pool, [of_pods[pod.uid] for pod in pods if pod.ready and pod.uid in of_pods]),
        pods=tuple(_pod(pod, of_pods.get(pod.uid)) for pod in pods),
        scrape_interval_seconds=scrape_interval_seconds,
        mean_request_work_seconds=readings.mean_request_work_seconds.get(pool_id),
    )


def _pod(pod: PodView, reading: PodReading | None) -> PodObservation:
    return PodObservation(
        uid=pod.uid,
        ready=pod.ready,
        terminating=pod.terminating,
        container_started_at=pod.started_at.timestamp() if pod.started_at else None,
        sample=reading.sample if reading else None,
    )


def _replicas(pool: FluxPool, current_replicas: int) -> int:
    """The number in force: the operator's own last word where it decides, else what the workload is set to."""
    kept = (pool.status.desired or Numbers()).replicas
    decides = pool.spec.scaling.mode.operator_decides
    return kept if decides and kept is not None else current_replicas


def _batch_size(pool: FluxPool, ready: Iterable[PodReading]) -> int | None:
    """The batch size in force: the operator's last word or the user's, else what ready pods run with at the least."""
    batching, kept = pool.spec.batching, (pool.status.desired or Numbers()).batch_size
    given = kept if batching.mode.operator_decides else batching.size or kept
    if given is not None:
        return given
    return min((limit for reading in ready if (limit := batch_size_of(reading)) is not None), default=None)


def batch_size_of(reading: PodReading) -> int | None:
    """The batch size a pod says it runs with, None when it says nothing that could be one."""
    limit = reading.sample.batch_size_limit
    return int(limit) if limit is not None and math.isfinite(limit) and limit >= 1 else None
