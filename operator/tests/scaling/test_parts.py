"""The smaller parts: policies, cold starts, steadiness."""

from datetime import timedelta
from typing import Any

import pytest
from api.pools import EVERY_FIELD, pool
from scaling.stage import START
from scaling.stage import pod as make_pod

from fluxpool_autoscaler import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Bounds,
    ColdStart,
    Mode,
    RatePolicy,
    RateType,
    SelectPolicy,
)
from fluxpool_operator.scaling.cold_starts import ColdStarts
from fluxpool_operator.scaling.outcome import ConditionFact
from fluxpool_operator.scaling.policies import policy_of
from fluxpool_operator.scaling.steady import LINGER_SECONDS, Steady
from fluxpool_operator.world import PodView

# ---- policies -------------------------------------------------------------------------------------------------------


def test_what_the_user_leaves_out_is_the_operators_to_choose() -> None:
    policy = policy_of(pool())
    assert (policy.bounds, policy.mode) == (Bounds(1, 4), Mode.AUTO)
    assert (policy.batching.bounds, policy.batching.mode) == (Bounds(1, 8), Mode.AUTO)
    assert (policy.targets.queue_depth_per_replica, policy.max_queue_seconds) == (None, 30 / 1.15)  # what a pod carries
    assert (policy.targets.gpu_utilization_ratio, policy.targets.latency_seconds) == (None, None)
    assert (policy.scale_up, policy.scale_down) == (DEFAULT_SCALE_UP, DEFAULT_SCALE_DOWN)


def test_what_the_user_gives_arrives() -> None:
    policy = policy_of(pool(**EVERY_FIELD))
    assert policy.bounds == Bounds(2, 6)
    assert policy.targets.queue_depth_per_replica == 4
    assert policy.targets.gpu_utilization_ratio == 0.8
    assert policy.targets.latency_seconds == 20
    assert policy.scale_up.policies == (RatePolicy(RateType.PODS, 2, 15),)
    assert policy.scale_down.window_seconds == 300


@pytest.mark.parametrize("mode", ["Auto", "Hold", "Recommend", "Manual"])
def test_every_mode_arrives(mode: str) -> None:
    policy = policy_of(pool(scaling={"mode": mode, "maxReplicas": 4}, batching={"mode": mode}))
    assert (policy.mode.value, policy.batching.mode.value) == (mode, mode)


def test_manual_needs_no_maximum() -> None:
    assert policy_of(pool(scaling={"mode": "Manual"})).bounds == Bounds(1, None)


@pytest.mark.parametrize(
    ("given", "window", "policies", "select"),
    [
        ({"stabilizationWindowSeconds": 0}, 0, DEFAULT_SCALE_DOWN.policies, SelectPolicy.MAX),
        ({"selectPolicy": "Disabled"}, 300, DEFAULT_SCALE_DOWN.policies, SelectPolicy.DISABLED),
        ({"policies": []}, 300, DEFAULT_SCALE_DOWN.policies, SelectPolicy.MAX),
        (
            {"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}], "selectPolicy": "Min"},
            300,
            (RatePolicy(RateType.PERCENT, 10, 60),),
            SelectPolicy.MIN,
        ),
    ],
)
def test_behavior_is_filled_in_field_by_field(
    given: dict[str, Any], window: int, policies: tuple[RatePolicy, ...], select: SelectPolicy
) -> None:
    down = policy_of(pool(scaling={"maxReplicas": 4, "behavior": {"scaleDown": given}})).scale_down
    assert (down.window_seconds, down.policies, down.select) == (window, policies, select)


# ---- cold starts ----------------------------------------------------------------------------------------------------


def pod(name: str, took: float, *, ready_after: float = 0, **changes: Any) -> PodView:
    ready = START + timedelta(seconds=ready_after)
    return make_pod(name, **{"scheduled_at": ready - timedelta(seconds=took), "ready_at": ready, **changes})


def test_a_start_counts_once() -> None:
    starts = ColdStarts()
    assert starts.see([]) is None
    assert starts.see([make_pod("a", ready=False)]) is None
    for _ in range(3):
        assert starts.see([pod("a", 30)]) == ColdStart(30, 30, 30, starts=1)
    assert starts.see([pod("a", 900)]) == ColdStart(30, 30, 30, starts=1)  # unready for a while, and ready again
    assert starts.see([pod("a", 30), pod("b", 50)]) == ColdStart(30, 50, 50, starts=2)


def test_the_last_twenty_starts_stay_when_their_pods_have_gone() -> None:
    starts = ColdStarts()
    for number in range(25):
        seen = starts.see([pod(str(number), number)])
    assert seen == ColdStart(14, 22, 24, starts=20)


def test_starts_found_at_once_count_in_the_order_they_happened() -> None:
    pods = [pod(str(number), number, ready_after=-number) for number in range(30)]
    assert ColdStarts().see(pods) == ColdStart(9, 17, 19, starts=20)  # the 20 that became ready last


def test_a_new_template_starts_anew() -> None:
    starts = ColdStarts()
    starts.see([pod("a", 30)])
    old, new = pod("a", 30, current_template=False), pod("b", 70, template_hash="t2")
    assert starts.see([old]) == ColdStart(30, 30, 30, starts=1)
    assert starts.see([old, new]) == ColdStart(70, 70, 70, starts=1)


@pytest.mark.parametrize("changes", [{"restarts": 1}, {"scheduled_at": None}, {"took": 7200.0}, {"took": -1.0}])
def test_what_is_no_cold_start_does_not_count(changes: dict[str, Any]) -> None:
    assert ColdStarts().see([pod("a", **{"took": 30.0, **changes})]) is None


# ---- steadiness -----------------------------------------------------------------------------------------------------


def fact(reason: str, message: str = "", status: str = "True") -> ConditionFact:
    return ConditionFact(status, reason, message)  # type: ignore[arg-type]


def test_a_message_stays_as_long_as_its_reason() -> None:
    steady = Steady(["A"])
    assert steady.update(fact("A", "depth is 8"), 1, 0) == fact("A", "depth is 8")
    assert steady.update(fact("A", "depth is 9"), 1, 500) == fact("A", "depth is 8")


def test_what_it_is_about_changes_the_message_at_once() -> None:
    steady = Steady(["A", "B"])
    steady.update(fact("A", "one replica"), 1, 0)
    assert steady.update(fact("A", "two replicas"), 2, 0) == fact("A", "two replicas")
    assert steady.update(fact("B", "three replicas"), 3, 0) == fact("B", "three replicas")


def test_a_more_important_reason_counts_at_once_and_a_lesser_one_after_a_while() -> None:
    steady = Steady(["Important", "Usual"])
    steady.update(fact("Usual"), 1, 0)
    assert steady.update(fact("Important"), 1, 1).reason == "Important"
    assert steady.update(fact("Usual"), 1, 2).reason == "Important"
    assert steady.update(fact("Important"), 1, 20).reason == "Important"
    assert steady.update(fact("Usual"), 1, 20 + LINGER_SECONDS - 1).reason == "Important"
    assert steady.update(fact("Usual"), 1, 20 + LINGER_SECONDS).reason == "Usual"


@pytest.mark.parametrize(("before", "after"), [("Ranked", "Other"), ("Other", "Ranked"), ("Other", "Another")])
def test_a_reason_without_a_rank_never_lingers(before: str, after: str) -> None:
    steady = Steady(["Ranked"])
    steady.update(fact(before), 1, 0)
    assert steady.update(fact(after), 1, 1).reason == after


def test_the_same_reason_with_another_status_is_another_fact() -> None:
    steady = Steady()
    steady.update(fact("A", "yes"), 1, 0)
    assert steady.update(fact("A", "no", "False"), 1, 1) == fact("A", "no", "False")
