"""How fast the number of replicas may move: the rate policies of an autoscaling/v2 `behavior` block.

Source: kubernetes 1.37, pkg/controller/podautoscaler/horizontal.go, calculateScaleUpLimitWithScalingRules and
calculateScaleDownLimitWithBehaviors. Percentages are worked out in whole numbers, where HPA's floats can be off by one
(100 replicas and 10 %: HPA's limit is 111).
"""

from collections.abc import Callable, Iterable

from fluxpool_autoscaler.memory import Change
from fluxpool_autoscaler.policy import RatePolicy, RateType, ScalingRules, SelectPolicy


def highest_allowed(current: int, changes: Iterable[Change], rules: ScalingRules, now: float) -> int:
    """The most replicas the up rules allow now; never below `current`."""
    return max(current, _limit(current, changes, rules, now, sign=1))


def lowest_allowed(current: int, changes: Iterable[Change], rules: ScalingRules, now: float) -> int:
    """The fewest replicas the down rules allow now; never above `current`."""
    return min(current, _limit(current, changes, rules, now, sign=-1))


def _limit(current: int, changes: Iterable[Change], rules: ScalingRules, now: float, *, sign: int) -> int:
    if rules.select is SelectPolicy.DISABLED:
        return current
    changes = tuple(changes)
    limits = [
        _moved(current - _changed_within(policy.period_seconds, changes, now), policy, sign)
        for policy in rules.policies
    ]
    furthest: Callable[[list[int]], int] = max if (rules.select is SelectPolicy.MAX) == (sign > 0) else min
    return furthest(limits) if limits else current


def _moved(period_start: int, policy: RatePolicy, sign: int) -> int:
    """Where one policy lets a period end that began with `period_start` replicas.

    A percentage is rounded towards the larger number of replicas when going up, else one replica could never become
    two by 10 %; going down it is cut, so that two become one by 10 %.
    """
    if policy.type is RateType.PODS:
        return period_start + sign * policy.value
    hundredths = period_start * (100 + sign * policy.value)
    return -(-hundredths // 100) if sign > 0 else hundredths // 100


def _changed_within(period_seconds: float, changes: Iterable[Change], now: float) -> int:
    return sum(change.replicas for change in changes if change.at > now - period_seconds)
