"""The two numbers a pool shall have now: who decides, and what counts while nobody has.

| mode | replicas | batch size |
|---|---|---|
| Auto | the autoscaler's, else `status.desired`, else the present number, within the bounds | the same |
| Hold | `status.desired`, else the present number, within the bounds | the same |
| Recommend, Manual | `spec.replicas`, else the present number | `spec.batching.size`, else `status.desired`, else … |

The present number is the Deployment's, or what ready pods report. So a new mode, a restored backup or a restarted
operator moves nothing by itself. A new pool starts at `minReplicas`; its batch size is its pods' own until the
autoscaler has looked.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fluxpool_operator.api import FluxPool, Mode, Numbers, Status
from fluxpool_operator.world import DeploymentView, PodView, Snapshot


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the pool shall have; a batch size of None leaves pods at their own default."""

    replicas: int
    batch_size: int | None


def sizes(pool: FluxPool, snapshot: Snapshot, deployment: DeploymentView | None) -> Sizes:
    """The numbers of the pool, by the table above; `deployment` is its own."""
    return Sizes(_replicas(pool, snapshot, deployment), _batch_size(pool, snapshot))


def _replicas(pool: FluxPool, snapshot: Snapshot, deployment: DeploymentView | None) -> int:
    scaling, kept = pool.spec.scaling, _desired(pool.status).replicas
    present = deployment.replicas if deployment else None
    if not scaling.mode.operator_decides:
        return _first(pool.spec.replicas, present, kept, scaling.floor)
    fresh = snapshot.outcome.desired_replicas if snapshot.outcome and scaling.mode is Mode.AUTO else None
    return scaling.clamp(_first(fresh, kept, present, scaling.floor))


def _batch_size(pool: FluxPool, snapshot: Snapshot) -> int | None:
    batching, kept = pool.spec.batching, _desired(pool.status).batch_size
    present = running_batch_size(snapshot.pods, snapshot.batch_sizes)
    if not batching.mode.operator_decides:
        return _first_known(batching.size, kept, present)
    fresh = snapshot.outcome.desired_batch_size if snapshot.outcome and batching.mode is Mode.AUTO else None
    size = _first_known(fresh, kept, present)
    return None if size is None else batching.clamp(size)


def running_batch_size(pods: Iterable[PodView], batch_sizes: Mapping[str, int]) -> int | None:
    """What all ready pods run with at the least; None if none of them has said."""
    reported = [batch_sizes[pod.uid] for pod in pods if pod.ready and not pod.terminating and pod.uid in batch_sizes]
    return min(reported, default=None)


def _desired(status: Status) -> Numbers:
    return status.desired or Numbers()


def _first_known(*candidates: int | None) -> int | None:
    return next((number for number in candidates if number is not None), None)


def _first(*candidates: int | None) -> int:
    number = _first_known(*candidates)
    if number is None:
        raise ValueError("the last candidate must be a number")
    return number
