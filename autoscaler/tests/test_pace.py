"""Rate policies against Kubernetes' own table (1.37, horizontal_test.go, TestScalingWithRules).

Left out are its cases with minReplicas 0 and those that say the same in other numbers. Events are (seconds ago,
replicas added); the source's generateEventsUniformDistribution puts three events of a 120 s span 100, 60 and 20 s ago.
"""

import pytest

from fluxpool_autoscaler import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    BatchPolicy,
    Bounds,
    Policy,
    RatePolicy,
    RateType,
    ScalingRules,
    SelectPolicy,
    Targets,
)
from fluxpool_autoscaler.memory import Change
from fluxpool_autoscaler.pace import highest_allowed, lowest_allowed
from fluxpool_autoscaler.rails import Draft, bound, pace

NOW = 10_000.0
UP_1_5_9 = [(100, 1), (60, 5), (20, 9)]
DOWN_1_5_9 = [(100, -1), (60, -5), (20, -9)]
DOWN_30 = [(100, -10), (60, -10), (20, -10)]
UP_40 = [(105, 8), (75, 12), (45, 9), (15, 11)]


def rules(pods: int, pods_period: int, percent: int, percent_period: int) -> ScalingRules:
    """The source's generateScalingRules."""
    policies = []
    if pods:
        policies.append(RatePolicy(RateType.PODS, pods, pods_period))
    if percent:
        policies.append(RatePolicy(RateType.PERCENT, percent, percent_period))
    return ScalingRules(0, tuple(policies))


def paced(
    asked: int,
    current: int,
    bounds: tuple[int, int],
    *,
    up: ScalingRules = DEFAULT_SCALE_UP,
    down: ScalingRules = DEFAULT_SCALE_DOWN,
    events: list[tuple[int, int]] | None = None,
) -> int:
    policy = Policy(
        Bounds(*bounds), Targets(queue_depth_per_replica=1), BatchPolicy(Bounds(1, 1)), scale_up=up, scale_down=down
    )
    changes = [Change(NOW - ago, replicas) for ago, replicas in events or []]
    return pace(bound(Draft(asked), policy.bounds), current, changes, policy, NOW).number


UP = [
    ("within range", 5, 7, (3, 8), DEFAULT_SCALE_UP, [], 7),
    ("more than the maximum", 100, 1000, (100, 150), DEFAULT_SCALE_UP, [], 150),
    ("scaleUpLimit < maxReplicas with user policies", 3, 1000, (1, 2000), rules(0, 0, 1, 60), [], 4),
    ("default behavior", 10, 50, (1, 1000), DEFAULT_SCALE_UP, [], 20),
    ("pods policy larger than percent policy", 10, 500, (1, 1000), rules(100, 60, 100, 60), [], 110),
    ("percent policy larger than pods policy", 10, 500, (1, 1000), rules(2, 60, 100, 60), [], 20),
    ("maximum with large pod policy", 10, 50, (1, 1000), rules(100, 60, 0, 0), [], 50),
    ("pod policy limitation", 10, 50, (1, 1000), rules(30, 60, 0, 0), [], 40),
    ("percent policy limitation", 10, 50, (1, 1000), rules(0, 0, 200, 60), [], 30),
    ("maximum with large pod policy and events", 100, 500, (1, 200), rules(300, 60, 0, 0), UP_1_5_9, 200),
    ("policy changed after a lot of scale up events", 100, 500, (1, 1000), rules(5, 120, 0, 0), UP_1_5_9, 100),
    ("pod policy and previous events: 100 - 15 + 150", 100, 500, (1, 1000), rules(150, 120, 0, 0), UP_1_5_9, 235),
    ("percent policy and previous events: (100 - 15) * 3", 100, 500, (1, 1000), rules(0, 0, 200, 120), UP_1_5_9, 255),
    ("previous up and down events", 6, 24, (1, 1000), rules(0, 0, 300, 300), [(60, 4), (60, -2)], 16),
    ("events outside the period", 100, 200, (1, 1000), rules(1000, 60, 0, 0), UP_40, 200),
    ("two policies, two periods", 100, 200, (1, 1000), rules(1000, 30, 100, 60), UP_40, 200),
]


@pytest.mark.parametrize(("current", "asked", "bounds", "up", "events", "expected"), [case[1:] for case in UP])
def test_up_agrees_with_hpa(
    current: int,
    asked: int,
    bounds: tuple[int, int],
    up: ScalingRules,
    events: list[tuple[int, int]],
    expected: int,
) -> None:
    assert paced(asked, current, bounds, up=up, events=events) == expected


DOWN = [
    ("less than the minimum", 3, 1, (2, 8), DEFAULT_SCALE_DOWN, [], 2),
    ("percent policy larger than pod policy", 100, 2, (1, 1000), rules(20, 60, 1, 60), [], 80),
    ("pod policy larger than percent policy", 100, 2, (1, 1000), rules(2, 60, 1, 60), [], 98),
    ("minimum with large pod policy", 10, 0, (1, 1000), rules(100, 60, 0, 0), [], 1),
    ("minimum with large percent policy", 10, 2, (5, 1000), rules(0, 0, 100, 60), [], 5),
    ("pod policy limitation", 10, 2, (1, 1000), rules(5, 60, 0, 0), [], 5),
    ("percent policy limitation", 10, 5, (1, 1000), rules(0, 0, 50, 60), [], 5),
    ("default policy and previous events", 10, 5, (1, 1000), DEFAULT_SCALE_DOWN, DOWN_1_5_9, 5),
    ("minimum, large pod policy, events", 100, 0, (1, 1000), rules(115, 120, 0, 0), DOWN_1_5_9, 1),
    ("100 percent, events", 100, 2, (5, 1000), rules(0, 0, 100, 120), DOWN_1_5_9, 5),
    ("100 + 15 - 5 is above the present", 100, 2, (1, 1000), rules(5, 120, 0, 0), DOWN_1_5_9, 100),
    ("(100 + 12) / 2", 100, 0, (1, 1000), rules(0, 0, 50, 120), [(100, -2), (60, -4), (20, -6)], 56),
    ("previous up and down events", 10, 1, (1, 1000), rules(0, 0, 50, 180), [(60, 2), (60, -4)], 6),
    ("(100 + 30) - 10 % is above the present", 100, 0, (1, 1000), rules(0, 0, 10, 120), DOWN_30, 100),
    ("(10 + 30) - 1000 % is below zero", 10, 5, (1, 1000), rules(0, 0, 1000, 120), DOWN_30, 5),
]


@pytest.mark.parametrize(("current", "asked", "bounds", "down", "events", "expected"), [case[1:] for case in DOWN])
def test_down_agrees_with_hpa(
    current: int,
    asked: int,
    bounds: tuple[int, int],
    down: ScalingRules,
    events: list[tuple[int, int]],
    expected: int,
) -> None:
    assert paced(asked, current, bounds, down=down, events=events) == expected


TWO_PODS_OR_HALF = (RatePolicy(RateType.PODS, 2, 60), RatePolicy(RateType.PERCENT, 50, 60))


def test_select_min_takes_the_smallest_change_up() -> None:
    """horizontal_test.go, TestCalculateScaleUpLimitWithScalingRules."""
    assert highest_allowed(1, [], ScalingRules(300, TWO_PODS_OR_HALF, SelectPolicy.MIN), NOW) == 2


def test_select_min_takes_the_smallest_change_down() -> None:
    """horizontal_test.go, TestCalculateScaleDownLimitWithBehaviors."""
    assert lowest_allowed(5, [], ScalingRules(300, TWO_PODS_OR_HALF, SelectPolicy.MIN), NOW) == 3


def test_select_max_takes_the_largest_change() -> None:
    either = ScalingRules(300, TWO_PODS_OR_HALF, SelectPolicy.MAX)
    assert (highest_allowed(1, [], either, NOW), highest_allowed(10, [], either, NOW)) == (3, 15)
    assert (lowest_allowed(3, [], either, NOW), lowest_allowed(10, [], either, NOW)) == (1, 5)


def test_disabled_allows_no_change() -> None:
    never = ScalingRules(0, TWO_PODS_OR_HALF, SelectPolicy.DISABLED)
    assert highest_allowed(4, [], never, NOW) == lowest_allowed(4, [], never, NOW) == 4


def test_no_policy_allows_no_change() -> None:
    assert highest_allowed(4, [], ScalingRules(0, ()), NOW) == 4


def test_percentages_are_exact() -> None:
    ten_percent = ScalingRules(0, (RatePolicy(RateType.PERCENT, 10, 60),))
    assert highest_allowed(100, [], ten_percent, NOW) == 110  # HPA's floats make it 111


def test_an_event_leaves_the_period_at_its_end() -> None:
    two_per_minute = ScalingRules(0, (RatePolicy(RateType.PODS, 2, 60),))
    assert highest_allowed(4, [Change(NOW - 59.9, 2)], two_per_minute, NOW) == 4
    assert highest_allowed(4, [Change(NOW - 60, 2)], two_per_minute, NOW) == 6
