"""What was seen of one FluxPool at one moment: its pods, and the newest sample of each.

An observation is raw: it holds samples that are too old, of pods that are not ready, or of a process that has died
since. `census` says which of them count. A value that is None or not finite is *no value*, never zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodSample:
    """The newest scrape of one pod.

    Attributes:
        age_seconds: how long ago the scrape was, both ends read from the metric store's own clock.
        process_started_at: Unix time at which the process that answered began, by the clock of its node.
        requests_waiting: requests admitted of which no step has run.
        requests_running: requests of which at least one step has run.
        gpu_utilization_ratio: 0 to 1.
        batch_size_limit: the largest number of rows in one step, as the pod has it now.
        step_fixed_seconds: a of t(rows) = a + c rows, the duration of one denoising step at the default size.
        step_per_row_seconds: c of the same.
    """

    age_seconds: float
    process_started_at: float | None = None
    requests_waiting: float | None = None
    requests_running: float | None = None
    gpu_utilization_ratio: float | None = None
    batch_size_limit: float | None = None
    step_fixed_seconds: float | None = None
    step_per_row_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PodObservation:
    """One pod as the API server shows it, with its sample.

    Attributes:
        uid: the pod's UID, its identity.
        ready: the Ready condition.
        terminating: deletion has been asked for, or the pod has failed for good: neither load nor capacity.
        container_started_at: Unix time at which the running container began, by the clock of its node; None while
            none runs.
        sample: None when the metric store has nothing of this pod.
    """

    uid: str
    ready: bool
    terminating: bool = False
    container_started_at: float | None = None
    sample: PodSample | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one decision rests on.

    Attributes:
        replicas: the number of replicas in force (what the workload is set to, whether or not the pods exist yet).
        batch_size: the batch size in force, None when none was ever chosen.
        pods: every pod of the pool.
        scrape_interval_seconds: how far apart scrapes of this pool are seen to be, None until learned.
        mean_request_work_seconds: admitted work per admitted request over the last minutes; None or NaN (a ratio of
            nothing) when none was admitted.
    """

    replicas: int
    batch_size: int | None = None
    pods: tuple[PodObservation, ...] = ()
    scrape_interval_seconds: float | None = None
    mean_request_work_seconds: float | None = None


Signal = Callable[[PodSample], float | None]


def queue_depth(sample: PodSample) -> float | None:
    """Requests waiting and running: at the right size nothing waits, so waiting alone would shrink full pods."""
    waiting, running = finite(sample.requests_waiting), finite(sample.requests_running)
    return None if waiting is None or running is None else waiting + running


def gpu_utilization(sample: PodSample) -> float | None:
    """Busy share of the pod's devices, 0 to 1."""
    return finite(sample.gpu_utilization_ratio)


def finite(value: float | None) -> float | None:
    """The value, or None when it is none: absent, NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None
