"""The calculator against the cases of Kubernetes' own tests (1.37, pkg/controller/podautoscaler)."""

import pytest

from fluxpool_autoscaler.calculator import ceil, replicas_for_target

# replica_calculator_test.go, TestReplicaCalcPodMetric. There a running pod that is not ready counts with its value; in
# the two cases about such pods they are given as ready here.
POD_METRIC = [
    ("scale up", [20, 10, 30], 15, 3, 0, 4),
    ("scale up: unready hot-CPU pod scales less", [50, 10, 30], 15, 3, 0, 6),
    ("scale up: unready hot-CPU pods avoid scale-down", [50, 15, 30], 15, 3, 0, 7),
    ("scale down", [12, 12, 12, 12, 12], 20, 5, 0, 3),
    ("within default tolerance", [20, 21, 21], 20, 3, 0, 3),
    ("no change: missing metrics", [20, 19, 21], 20, 5, 2, 5),
    ("rolling update with maxSurge: extra pod missing metric", [10, 10], 17, 2, 1, 2),
]


@pytest.mark.parametrize(("values", "target", "current", "missing", "expected"), [c[1:] for c in POD_METRIC])
def test_agrees_with_hpa_on_pod_metrics(
    values: list[float], target: float, current: int, missing: int, expected: int
) -> None:
    assert replicas_for_target(values, target=target, current=current, missing=missing) == expected


# replica_calculator_test.go, TestReplicaCalcResourceScale: percent of the request, values of unready pods left out.
RESOURCE_SCALE = [
    ("scale up", [30, 50, 70], 30, 3, 0, 5),
    ("scale up: unready pod scales less", [50, 70], 30, 3, 1, 4),
    ("no scale: unready pods ignored", [40], 30, 3, 2, 3),
    ("scale up: failed pods ignored", [50, 70], 30, 2, 0, 4),
    ("scale down", [10, 30, 50, 25, 25], 50, 5, 0, 3),
    ("scale down: exclude unready pods", [10, 30, 50], 50, 5, 2, 2),
    ("scale down: exclude unscheduled pods", [10], 50, 5, 4, 1),
]


@pytest.mark.parametrize(("values", "target", "current", "unready", "expected"), [c[1:] for c in RESOURCE_SCALE])
def test_agrees_with_hpa_on_unready_pods(
    values: list[float], target: float, current: int, unready: int, expected: int
) -> None:
    assert replicas_for_target(values, target=target, current=current, unready=unready) == expected


# replica_calculator_test.go, TestReplicaCalcResourceMissingMetrics, the cases in which the fallback for resources
# (100 % of the request) is also the target, or plays no part.
MISSING_METRICS = [
    ("some pods missing metrics scales down", [40, 9.5], 100, 4, 2, 0, 3),
    ("no change: metric equal to target", [100], 100, 2, 1, 0, 2),
    ("no change: metric above target", [190], 100, 2, 1, 0, 2),
    ("no change: metric below target", [60], 100, 2, 1, 0, 2),
    ("no change: unready pod metric missing", [45], 50, 3, 1, 1, 3),
    ("scale up: unready pod metric missing", [200], 50, 3, 1, 1, 4),
    ("rolling update with maxSurge: extra pod missing metric", [10, 10], 50, 2, 1, 0, 2),
]


@pytest.mark.parametrize(
    ("values", "target", "current", "missing", "unready", "expected"), [c[1:] for c in MISSING_METRICS]
)
def test_agrees_with_hpa_on_missing_pods(
    values: list[float], target: float, current: int, missing: int, unready: int, expected: int
) -> None:
    assert replicas_for_target(values, target=target, current=current, missing=missing, unready=unready) == expected


@pytest.mark.parametrize(("value", "expected"), [(200, 2), (50, 1), (100, 1), (109, 1), (110, 1), (111, 2)])
def test_agrees_with_the_documentation_of_hpa(value: float, expected: int) -> None:
    """ "If the current metric value is 200m, and the desired value is 100m, the number of replicas will be doubled"."""
    assert replicas_for_target([value], target=100, current=1) == expected


def test_going_down_missing_pods_count_as_at_the_target_and_unready_ones_not_at_all() -> None:
    # (10 + 10 + 50) / 50 = 1.4: the missing pod is worth one target, the unready one nothing.
    assert replicas_for_target([10, 10], target=50, current=4, missing=1, unready=1) == 2


def test_going_up_missing_and_unready_pods_count_as_idle() -> None:
    # 3 * 40 = 120 wanted by three; over five pods that is 24 each, 2.4 times the target.
    assert replicas_for_target([40, 40, 40], target=10, current=5, missing=1, unready=1) == 12


def test_holds_when_the_damping_turns_the_direction() -> None:
    # 3.0 times the target by the one pod with a value; 0.75 over all four.
    assert replicas_for_target([24], target=8, current=4, missing=2, unready=1) == 4


def test_holds_when_the_damped_number_would_turn_the_direction() -> None:
    # Above the target, yet two ready and two surplus pods would ask for 3, fewer than the 5 in force.
    assert replicas_for_target([12, 12], target=8, current=5, missing=0, unready=0) == 3
    assert replicas_for_target([12, 12, 0], target=8, current=5, missing=0, unready=1) == 5


def test_knows_nothing_without_a_value() -> None:
    assert replicas_for_target([], target=8, current=3, missing=3) is None


def test_an_idle_pool_needs_none() -> None:
    assert replicas_for_target([0, 0], target=8, current=2) == 0


@pytest.mark.parametrize(("total", "target", "expected"), [(0.3, 0.1, 3), (2.1, 0.7, 3), (2.1000001, 0.7, 4)])
def test_rounding_errors_buy_no_replica(total: float, target: float, expected: int) -> None:
    assert ceil(total / target) == expected
