"""The Pods-metric calculator of HorizontalPodAutoscaler v2.

Source: kubernetes 1.37, pkg/controller/podautoscaler/replica_calculator.go, calcPlainMetricReplicas. One difference:
HPA keeps values as whole thousandths and cuts the mean; here they are floats.
"""

import math
from collections.abc import Sequence

TOLERANCE = 0.1
# A quotient that is a whole number but for rounding is that number.
_EPSILON = 1e-9


def replicas_for_target(
    values: Sequence[float], *, target: float, current: int, missing: int = 0, unready: int = 0
) -> int | None:
    """The replicas that bring the mean of a per-pod value to `target`.

    Pods without a value damp the move: going up, unready and missing pods count as 0; going down, missing pods count
    as exactly at the target. Where that would turn the direction, or leave the ratio within the tolerance of 10 %,
    the present number stays.

    Args:
        values: of the ready pods that have one.
        target: what each replica should carry, above 0, in the unit of `values`.
        current: the replicas in force.
        missing: ready pods without a value.
        unready: pods that are not ready.

    Returns:
        The number asked for, not yet within any bounds; None without a single value.
    """
    if not values:
        return None
    ratio = _ratio(sum(values), len(values), target)
    zeros = unready if ratio > 1 else 0
    if not zeros and not missing:
        return current if _within_tolerance(ratio) else ceil(sum(values) / target)
    total = sum(values) + (missing * target if ratio < 1 else 0)
    pods = len(values) + zeros + (missing if ratio != 1 else 0)
    damped = _ratio(total, pods, target)
    if _within_tolerance(damped) or (ratio - 1) * (damped - 1) < 0:
        return current
    asked = ceil(total / target)
    turned = (damped < 1 and asked > current) or (damped > 1 and asked < current)
    return current if turned else asked


def ceil(quotient: float) -> int:
    """The next whole number up, blind to rounding errors of the quotient."""
    return math.ceil(quotient - _EPSILON * max(1.0, abs(quotient)))


def _ratio(total: float, pods: int, target: float) -> float:
    return total / pods / target


def _within_tolerance(ratio: float) -> bool:
    return abs(ratio - 1) <= TOLERANCE + _EPSILON
