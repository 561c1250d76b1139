"""Small worlds for the tests: pods with samples, policies, and timelines of decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fluxpool_autoscaler import (
    BatchPolicy,
    Bounds,
    Decision,
    Memory,
    Observation,
    PodObservation,
    PodSample,
    Policy,
    Targets,
    decide,
)

STARTED = 1_700_000_000.0


def sample(depth: float = 0, *, waiting: float = 0, busy: float | None = 0.0, age: float = 1.0) -> PodSample:
    """`depth` requests in the pod, `waiting` of which wait."""
    return PodSample(
        age_seconds=age,
        process_started_at=STARTED + 1,
        requests_waiting=waiting,
        requests_running=depth - waiting,
        gpu_utilization_ratio=busy,
        batch_size_limit=8,
        step_fixed_seconds=0.3,
        step_per_row_seconds=0.1,
    )


def pod(uid: str, seen: PodSample | None = None, *, ready: bool = True, terminating: bool = False) -> PodObservation:
    return PodObservation(uid, ready, terminating, STARTED, seen)


def pool(
    depths: Sequence[float | None],
    *,
    replicas: int | None = None,
    unready: int = 0,
    waiting: float = 0,
    busy: float | None = 0.0,
    batch_size: int | None = None,
    mean_work: float | None = None,
) -> Observation:
    """One ready pod for each queue depth (None: no sample), and `unready` more; scraped every 2 s."""
    ready = [
        pod(f"pod-{n}", None if depth is None else sample(depth, waiting=waiting, busy=busy))
        for n, depth in enumerate(depths)
    ]
    starting = [pod(f"new-{n}", ready=False) for n in range(unready)]
    return Observation(
        replicas=len(ready) + unready if replicas is None else replicas,
        batch_size=batch_size,
        pods=(*ready, *starting),
        scrape_interval_seconds=2,
        mean_request_work_seconds=mean_work,
    )


POLICY = Policy(
    bounds=Bounds(1, 10), targets=Targets(queue_depth_per_replica=8), batching=BatchPolicy(bounds=Bounds(1, 8))
)
LATENCY = replace(POLICY, targets=replace(POLICY.targets, latency_seconds=5))


def timeline(
    policy: Policy, moments: Iterable[tuple[float, Observation]], memory: Memory | None = None
) -> tuple[list[Decision], Memory]:
    """The decisions at each (seconds, observation), and the memory after the last."""
    memory = Memory() if memory is None else memory
    decisions = []
    for now, observation in moments:
        decision, memory = decide(observation, memory, policy, now)
        decisions.append(decision)
    return decisions, memory


def desired(decisions: Iterable[Decision]) -> list[int]:
    return [decision.replicas.desired for decision in decisions]


def sizes(decisions: Iterable[Decision]) -> list[int]:
    return [decision.batch_size.desired for decision in decisions]
