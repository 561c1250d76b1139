"""Timelines: what was seen at each moment, and the number of replicas that follows."""

from dataclasses import replace

import pytest
from worlds import POLICY, desired, pod, pool, sample, timeline

from fluxpool_autoscaler import (
    DEFAULT_SCALE_UP,
    Bounds,
    Limit,
    Memory,
    Observation,
    Policy,
    RatePolicy,
    RateType,
    ScalingRules,
    Targets,
    decide,
)

NAN = float("nan")


def down_window(seconds: float, policy: Policy = POLICY) -> Policy:
    return replace(policy, scale_down=replace(policy.scale_down, window_seconds=seconds))


def test_load_over_the_target_asks_for_the_replicas_that_carry_it() -> None:
    (decision,), _ = timeline(POLICY, [(0, pool([20, 20]))])
    assert decision.replicas.desired == 5  # 40 requests, 8 each
    assert decision.replicas.winner == "queue_depth"
    assert decision.replicas.reason == "queue depth per replica is 20, target 8: 5 replicas needed"
    assert decision.replicas.limits == ()
    assert decision.replicas.changed


def test_load_within_a_tenth_of_the_target_changes_nothing() -> None:
    decisions, _ = timeline(POLICY, [(0, pool([8.8, 8.8])), (2, pool([7.2, 7.2])), (4, pool([8, 8]))])
    assert desired(decisions) == [2, 2, 2]
    assert not any(decision.replicas.changed for decision in decisions)


def test_an_idle_pool_shrinks_to_the_minimum_after_the_down_window() -> None:
    moments = [(now, pool([0, 0, 0])) for now in range(0, 301, 2)]
    decisions, _ = timeline(POLICY, moments)
    assert set(desired(decisions[:-1])) == {3}
    held = decisions[-2].replicas
    assert held.limits == (Limit.HELD_BY_WINDOW,)
    assert held.reason == (
        "queue depth per replica is 0, target 8: 0 replicas needed, held at 3 by the largest need of the last 300 s"
    )
    assert decisions[-1].replicas.desired == 1
    assert decisions[-1].replicas.limits == (Limit.AT_MINIMUM,)
    assert decisions[-1].replicas.reason.endswith("0 replicas needed, raised to 1, the minimum")


def test_the_highest_need_of_the_window_holds_down() -> None:
    policy = down_window(60)
    idle = [(now, pool([0, 0, 0, 0])) for now in range(0, 60, 10)]
    busy = [(60, pool([8, 8, 6, 0]))]  # 22 requests: 3 replicas
    after = [(now, pool([0, 0, 0, 0])) for now in range(70, 130, 10)]
    decisions, _ = timeline(policy, [*idle, *busy, *after])
    assert desired(decisions) == [4] * 6 + [3] + [3] * 5 + [1]


def test_a_short_dip_after_a_peak_sheds_nothing() -> None:
    peak, dip = pool([20, 20]), pool([0, 0, 0, 0, 0])
    decisions, _ = timeline(POLICY, [(0, peak), (2, dip), (4, dip), (250, dip)])
    assert desired(decisions) == [5, 5, 5, 5]


def test_pods_just_asked_for_are_not_asked_for_again() -> None:
    """Two seconds after asking, the pods do not even exist; they count as unready, that is, as idle."""
    decisions, _ = timeline(
        down_window(0), [(0, pool([20, 20])), (2, pool([20, 20], replicas=2)), (4, pool([21, 21], unready=3))]
    )
    assert desired(decisions) == [5, 5, 5]


def test_the_default_pace_up_is_double_or_four_pods_in_fifteen_seconds() -> None:
    policy = replace(POLICY, bounds=Bounds(1, 100))
    flood = [(now, pool([400])) for now in (0, 2, 14, 15, 17, 30)]
    decisions, _ = timeline(policy, flood)
    assert desired(decisions) == [5, 5, 5, 10, 10, 20]
    assert decisions[0].replicas.limits == (Limit.LIMITED_BY_RATE,)
    assert decisions[0].replicas.recommended == 50
    assert decisions[0].replicas.reason.endswith("50 replicas needed, limited to 5 for now by the rate policies")


def test_the_pace_down_bounds_the_fall() -> None:
    one_per_minute = ScalingRules(0, (RatePolicy(RateType.PODS, 1, 60),))
    policy = replace(POLICY, scale_down=one_per_minute)
    decisions, _ = timeline(policy, [(now, pool([0, 0, 0])) for now in (0, 30, 60, 119, 120)])
    assert desired(decisions) == [2, 2, 1, 1, 1]


def test_an_up_window_waits_for_a_lasting_need() -> None:
    policy = replace(POLICY, scale_up=replace(DEFAULT_SCALE_UP, window_seconds=30))
    calm, peak = pool([8, 8]), pool([20, 20])
    decisions, _ = timeline(policy, [(0, calm), (10, peak), (20, peak), (31, peak)])
    assert desired(decisions) == [2, 2, 2, 5]
    assert decisions[1].replicas.reason.endswith("held at 2 by the smallest need of the last 30 s")


def test_demand_over_the_maximum_says_so() -> None:
    (decision,), _ = timeline(POLICY, [(0, pool([16] * 6))])
    assert decision.replicas.desired == 10
    assert decision.replicas.limits == (Limit.AT_MAXIMUM,)
    assert decision.replicas.reason.endswith("12 replicas needed, limited to 10, the maximum")


def test_demand_of_just_the_maximum_is_no_limit() -> None:
    (decision,), _ = timeline(replace(POLICY, bounds=Bounds(1, 5)), [(0, pool([20, 20]))])
    assert (decision.replicas.desired, decision.replicas.limits) == (5, ())


@pytest.mark.parametrize(("bounds", "expected"), [(Bounds(5, 9), 5), (Bounds(1, 2), 2)])
def test_bounds_apply_at_once_and_without_data(bounds: Bounds, expected: int) -> None:
    no_data = [pool([None, None, None]), pool([], replicas=3, unready=3), Observation(replicas=3)]
    for observation in (*no_data, pool([8, 8, 8])):
        decision, _ = decide(observation, Memory(), replace(POLICY, bounds=bounds), 0)
        assert decision.replicas.desired == expected


def test_without_any_sample_the_number_stays() -> None:
    decisions, _ = timeline(down_window(0), [(0, pool([20, 20])), (2, pool([None, None], unready=3)), (900, pool([]))])
    assert desired(decisions) == [5, 5, 5]
    assert decisions[1].replicas.winner is None
    assert decisions[1].replicas.reason == "no ready pod has a sample that counts"


def test_an_outage_starts_the_window_anew() -> None:
    """What was needed meanwhile is unknown, so the number in force holds for one window after the outage."""
    policy, idle, outage = down_window(60), pool([0, 0]), pool([None, None])
    moments = [(now, idle) for now in range(0, 50, 2)] + [(now, outage) for now in range(50, 100, 2)]
    moments += [(now, idle) for now in range(100, 162, 2)]
    decisions, _ = timeline(policy, moments)
    numbers = dict(zip((now for now, _ in moments), desired(decisions), strict=True))
    assert numbers[158] == 2
    assert numbers[160] == 1


def test_an_outage_longer_than_the_window_starts_it_anew_whatever_the_age_limit() -> None:
    policy, idle, outage = down_window(10), pool([0, 0]), pool([None, None])
    slowly_scraped = replace(idle, scrape_interval_seconds=60)
    moments = [(0, idle), (2, outage), (14, slowly_scraped), (22, slowly_scraped), (24, slowly_scraped)]
    assert desired(timeline(policy, moments)[0]) == [2, 2, 2, 2, 1]


def test_an_outage_shorter_than_a_sample_may_be_old_loses_no_window() -> None:
    policy, idle, outage = down_window(60), pool([0, 0]), pool([None, None])
    moments = [(now, outage if now in (30, 32) else idle) for now in range(0, 62, 2)]
    decisions, _ = timeline(policy, moments)
    assert desired(decisions)[-2:] == [2, 1]


def test_after_a_restart_up_is_at_once_and_down_only_after_one_window() -> None:
    policy = down_window(120)
    decisions, _ = timeline(policy, [(5000, pool([0] * 6)), (5119, pool([0] * 6)), (5120, pool([0] * 6))])
    assert desired(decisions) == [6, 6, 1]
    decisions, _ = timeline(policy, [(5000, pool([20, 20]))])
    assert desired(decisions) == [5]


def test_a_number_decided_is_the_base_of_the_next_decision_before_the_workload_follows() -> None:
    decisions, _ = timeline(POLICY, [(0, pool([20, 20])), (2, pool([8, 8], replicas=2))])
    assert desired(decisions) == [5, 5]
    assert decisions[1].replicas.previous == 5


def test_a_missing_pod_holds_what_the_others_would_give_up() -> None:
    # (0 + 0 + 8) / 8 = 1 of 3: the missing pod is reckoned to be just at its target.
    decisions, _ = timeline(replace(down_window(0), bounds=Bounds(1, 10)), [(0, pool([0, 0, None]))])
    assert decisions[0].replicas.proposals[0].number == 1
    decisions, _ = timeline(down_window(0), [(0, pool([6, 6, None]))])
    assert desired(decisions) == [3]


def test_the_veto_keeps_the_gpus_under_ninety_percent() -> None:
    # Four GPUs 60 % busy carry 2.4 GPUs of work: on three 80 %, on two 120 %.
    (decision,), _ = timeline(down_window(0), [(0, pool([0, 0, 0, 0], busy=0.6))])
    assert decision.replicas.desired == 3
    assert decision.replicas.limits == (Limit.AT_MINIMUM, Limit.HELD_BY_UTILIZATION)
    assert decision.replicas.reason.endswith("held at 3, since 1 would be 240 % busy")


@pytest.mark.parametrize(("busy", "expected"), [(0.45, 1), (0.46, 2), (1.0, 2), (0.0, 1)])
def test_the_veto_begins_just_above_ninety_percent(busy: float, expected: int) -> None:
    assert desired(timeline(down_window(0), [(0, pool([0, 0], busy=busy))])[0]) == [expected]


@pytest.mark.parametrize("busy", [None, NAN])
def test_the_veto_takes_a_gpu_that_does_not_tell_for_busy(busy: float | None) -> None:
    assert desired(timeline(down_window(0), [(0, pool([0, 0, 0], busy=busy))])[0]) == [3]


def test_the_veto_never_raises() -> None:
    (decision,), _ = timeline(down_window(0), [(0, pool([8, 8], busy=1.0))])
    assert (decision.replicas.desired, decision.replicas.limits) == (2, ())


UTILIZATION = replace(down_window(0), targets=Targets(queue_depth_per_replica=8, gpu_utilization_ratio=0.5))


def test_utilization_is_a_rule_only_with_a_target() -> None:
    busy = pool([0, 0], busy=0.8)
    (without,), _ = timeline(POLICY, [(0, busy)])
    assert [proposal.rule for proposal in without.replicas.proposals] == ["queue_depth"]
    (decision,), _ = timeline(UTILIZATION, [(0, busy)])
    assert decision.replicas.desired == 4  # 2 * 0.8 / 0.5 = 3.2
    assert decision.replicas.winner == "gpu_utilization"
    assert decision.replicas.reason == "GPU utilization is 80 %, target 50 %: 4 replicas needed"


def test_the_largest_of_all_rules_wins() -> None:
    (decision,), _ = timeline(UTILIZATION, [(0, pool([24, 24], busy=0.8))])
    assert [(proposal.rule, proposal.number) for proposal in decision.replicas.proposals] == [
        ("queue_depth", 6),
        ("gpu_utilization", 4),
    ]
    assert (decision.replicas.winner, decision.replicas.desired) == ("queue_depth", 6)


def test_a_rule_without_data_forbids_to_shrink() -> None:
    """As HPA's TestNoScaleDownOneMetricInvalid: the signal that is missing might have asked for more."""
    (decision,), _ = timeline(UTILIZATION, [(0, pool([0, 0, 0], busy=None))])
    assert decision.replicas.desired == 3
    assert decision.replicas.limits == (Limit.HELD_BY_MISSING_METRICS,)
    assert decision.replicas.reason.endswith("held at 3, since another signal is missing")


def test_a_rule_without_data_does_not_stop_the_others_from_growing() -> None:
    """As HPA's TestScaleUpOneMetricEmpty."""
    assert desired(timeline(UTILIZATION, [(0, pool([20, 20], busy=None))])[0]) == [5]


def test_pods_that_are_not_ready_or_leave_do_not_count() -> None:
    observation = Observation(
        replicas=2,
        pods=(
            pod("a", sample(8)),
            pod("b", sample(8)),
            pod("c", sample(50), ready=False),
            pod("d", sample(50), terminating=True),
        ),
        scrape_interval_seconds=2,
    )
    assert desired(timeline(POLICY, [(0, observation)])[0]) == [2]
