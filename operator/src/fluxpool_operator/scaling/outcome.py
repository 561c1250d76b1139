"""What the autoscaler tells the reconciler about one pool: two numbers, two conditions, the last change in words.

The facts are free of Kubernetes: the reconciler turns a `ConditionFact` into a metav1 condition (and owns its
lastTransitionTime) and an `EventFact` into an Event. While nothing changes, an `Outcome` is equal from tick to tick,
its messages included.
"""

from dataclasses import dataclass, field
from typing import Literal

from fluxpool_autoscaler import ColdStart, Decision


@dataclass(frozen=True, slots=True)
class ConditionFact:
    """Status, CamelCase reason and message of one condition."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EventFact:
    """One Kubernetes event on the FluxPool."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The autoscaler's word on one pool.

    Attributes:
        desired_replicas: what `status.desired.replicas` must be in mode Auto; None in every other mode (leave it).
        desired_batch_size: the same for the batch size.
        recommended_replicas: what `status.recommended.replicas` must be in mode Recommend; None elsewhere, and before
            the first data.
        recommended_batch_size: the same for the batch size.
        scaling_active: the condition `ScalingActive`.
        metrics_available: the condition `MetricsAvailable`.
        event: the last change of a desired number, in words; it stays until the next change, None before the first.
            Send it in the plan that writes the new number to `status.desired`, and only there: so it is sent once,
            however often the outcome is read.
        cold_start: what `status.coldStart` must be; None before the first start was seen.
        decision: the autoscaler's decision, for log and metrics. `decision.replicas.desired` is the number to export
            as `fluxpool_desired_replicas` in every mode, `decision.batch_size.desired` the other. It holds live
            values, and so takes no part in comparisons.
    """

    desired_replicas: int | None
    desired_batch_size: int | None
    recommended_replicas: int | None
    recommended_batch_size: int | None
    scaling_active: ConditionFact
    metrics_available: ConditionFact
    event: EventFact | None
    cold_start: ColdStart | None
    decision: Decision = field(compare=False)
