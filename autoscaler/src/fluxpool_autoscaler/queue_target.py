"""The queue depth per replica to steer to where the user gave none: what a pod carries at its best.

A pod gains from more rows up to the knee of its own curve, or up to the batch size where that is smaller. So replicas
follow once the batch, the cheap knob, is used up. FLUX at 1024 x 1024 gains nothing from a second row: there it is one
image that runs and one that waits (of requests that come at random, M/D/1 holds two at a load of 85 %).

A pod also refuses what it cannot start within the bound of its queue. A target beyond that could never be reached: the
pool would answer 429 for ever and see no reason to grow.
"""

from fluxpool_autoscaler.census import Census
from fluxpool_autoscaler.observation import PodSample, finite
from fluxpool_autoscaler.policy import Mode, Policy
from fluxpool_autoscaler.service_curve import curve_of

LEAST = 2


def default_queue_depth(census: Census, policy: Policy, mean_request_work_seconds: float | None) -> float:
    """The smallest of what the measured pods carry; `batching.maximum` before any pod tells.

    Args:
        census: the pods.
        policy: bounds of the batch size, and of the wait in a pod.
        mean_request_work_seconds: solo seconds of a mean request; None when it is not known yet.
    """
    carried = [_carried(sample, policy, mean_request_work_seconds) for sample in census.samples.values()]
    return min(carried, default=float(max(LEAST, policy.batching.maximum)))


def _carried(sample: PodSample, policy: Policy, mean_work: float | None) -> float:
    rows, curve = _most_rows(sample, policy), curve_of(sample)
    if curve is None:
        return max(LEAST, rows)
    rows = curve.knee(rows)
    if mean_work is None or mean_work <= 0 or policy.max_queue_seconds is None:
        return max(LEAST, rows)
    return min(max(LEAST, rows), curve.capacity(rows) * policy.max_queue_seconds / mean_work)


def _most_rows(sample: PodSample, policy: Policy) -> int:
    """As far as the batch size may rise; where the autoscaler does not move it, what the pod has."""
    limit = finite(sample.batch_size_limit)
    if policy.batching.mode is Mode.AUTO or limit is None:
        return policy.batching.maximum
    return max(1, round(limit))
