"""The autoscaler's word, for tests."""

from typing import cast

from fluxpool_autoscaler import ColdStart, Decision
from fluxpool_operator.scaling.outcome import ConditionFact, EventFact, Outcome

ACTIVE = ConditionFact("True", "Steady", "the numbers are right")
AVAILABLE = ConditionFact("True", "Fresh", "all samples are fresh")
NO_DECISION = cast("Decision", None)  # the reconciler never looks at it


def outcome(
    replicas: int | None = None,
    batch_size: int | None = None,
    *,
    recommended: int | None = None,
    recommended_batch_size: int | None = None,
    scaling_active: ConditionFact = ACTIVE,
    metrics_available: ConditionFact = AVAILABLE,
    event: EventFact | None = None,
    cold_start: ColdStart | None = None,
) -> Outcome:
    return Outcome(
        desired_replicas=replicas,
        desired_batch_size=batch_size,
        recommended_replicas=recommended,
        recommended_batch_size=recommended_batch_size,
        scaling_active=scaling_active,
        metrics_available=metrics_available,
        event=event,
        cold_start=cold_start,
        decision=NO_DECISION,
    )
