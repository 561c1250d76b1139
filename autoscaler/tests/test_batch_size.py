"""The batch size. In these worlds t(rows) = 0.3 + 0.1 rows: each row after the first adds a quarter to a step, so a
request of 2 work-seconds takes 2 s at 1 row, 3.5 s at 4 and 5.5 s at 8; with a target of 5 s the pool rests at 7."""

from dataclasses import replace

import pytest
from worlds import LATENCY, POLICY, pod, pool, sample, sizes, timeline

from fluxpool_autoscaler import BatchPolicy, Bounds, Limit, Memory, Observation, PodSample, decide

NAN = float("nan")


def world(
    depth: float, *, waiting: float = 0, mean_work: float | None = 2.0, batch_size: int | None = None
) -> Observation:
    return pool([depth], waiting=waiting, mean_work=mean_work, batch_size=batch_size)


def with_sample(**changes: float | None) -> Observation:
    return Observation(1, pods=(pod("a", replace(sample(2), **changes)),), scrape_interval_seconds=2)  # type: ignore[arg-type]


def test_it_rests_at_the_largest_size_that_meets_the_latency_target() -> None:
    (decision,), _ = timeline(LATENCY, [(0, world(3))])
    assert decision.batch_size.desired == 7
    assert decision.batch_size.winner == "latency"
    assert decision.batch_size.reason == "a request takes 5 s at 7 rows, target 5 s: 7 rows needed"


@pytest.mark.parametrize(("mean_work", "expected"), [(0.1, 8), (2.0, 7), (4.0, 2), (5.0, 1), (60.0, 1)])
def test_dearer_requests_rest_at_smaller_sizes(mean_work: float, expected: int) -> None:
    assert sizes(timeline(LATENCY, [(0, world(1, mean_work=mean_work))])[0]) == [expected]


def test_the_slowest_pod_sets_the_service_time() -> None:
    slow = replace(sample(1), step_fixed_seconds=0.0)  # each row costs a whole step: 2 s more
    both = Observation(2, pods=(pod("a", sample(1)), pod("b", slow)), scrape_interval_seconds=2)
    both = replace(both, mean_request_work_seconds=2.0)
    assert sizes(timeline(LATENCY, [(0, both)])[0]) == [2]


def test_without_a_latency_target_it_rests_at_the_maximum() -> None:
    (decision,), _ = timeline(POLICY, [(0, world(0))])
    assert decision.batch_size.desired == 8
    assert decision.batch_size.reason == "there is no latency target: 8 rows needed"


def test_it_rises_to_the_maximum_at_once_when_requests_wait_for_a_row() -> None:
    calm, full = world(2, mean_work=4), world(11, waiting=3, mean_work=4)
    decisions, _ = timeline(LATENCY, [(0, calm), (2, full)])
    assert sizes(decisions) == [2, 8]
    assert decisions[1].batch_size.changed


def test_the_reason_counts_the_requests_that_wait() -> None:
    (decision,), _ = timeline(LATENCY, [(0, world(10, waiting=2, mean_work=1.5))])
    assert (decision.batch_size.desired, decision.batch_size.winner) == (8, "waiting")
    assert decision.batch_size.reason == "2 requests waiting for a row: 8 rows needed"
    (decision,), _ = timeline(POLICY, [(0, world(9, waiting=1))])
    assert decision.batch_size.reason == "1 request waiting for a row: 8 rows needed"


def test_a_request_with_a_row_to_spare_waits_for_its_prompt_and_raises_nothing() -> None:
    assert sizes(timeline(LATENCY, [(0, world(2, waiting=1, mean_work=4))])[0]) == [2]


@pytest.mark.parametrize("limit", [None, NAN])
def test_a_pod_that_does_not_tell_its_limit_is_taken_at_its_word_that_requests_wait(limit: float | None) -> None:
    observation = replace(with_sample(requests_waiting=1, batch_size_limit=limit), mean_request_work_seconds=4.0)
    assert sizes(timeline(LATENCY, [(0, observation)])[0]) == [8]


def test_it_stays_at_the_maximum_while_a_pod_holds_more_than_the_smaller_size_carries() -> None:
    (decision,), _ = timeline(LATENCY, [(0, world(5, mean_work=4))])
    assert decision.batch_size.desired == 8
    assert decision.batch_size.reason == (
        "a pod holds 5 requests, and only 2 at once meet the latency target: 8 rows needed"
    )


def test_it_comes_down_when_nothing_has_needed_more_for_a_minute() -> None:
    full, calm = world(11, waiting=3, mean_work=4), world(2, mean_work=4)
    decisions, _ = timeline(LATENCY, [(0, full)] + [(now, calm) for now in range(2, 62, 2)])
    assert sizes(decisions) == [8] * 30 + [2]
    held = decisions[-2].batch_size
    assert held.limits == (Limit.HELD_BY_WINDOW,)
    assert held.reason.endswith("2 rows needed, held at 8 by the largest need of the last 60 s")


def test_a_shorter_scale_down_window_holds_it_too() -> None:
    policy = replace(LATENCY, scale_down=replace(LATENCY.scale_down, window_seconds=10))
    full, calm = world(11, waiting=3, mean_work=4), world(2, mean_work=4)
    assert sizes(timeline(policy, [(0, full), (2, calm), (8, calm), (10, calm)])[0]) == [8, 8, 8, 2]


def test_the_mean_work_of_a_request_is_remembered_while_none_comes() -> None:
    decisions, _ = timeline(
        LATENCY, [(0, world(1, mean_work=4)), (2, world(0, mean_work=NAN)), (4, world(0, mean_work=None))]
    )
    assert sizes(decisions) == [2, 2, 2]


def test_before_anything_is_known_it_starts_where_the_target_is_surely_met() -> None:
    decision, _ = decide(Observation(1), Memory(), LATENCY, 0)
    assert decision.batch_size.desired == 1
    assert decide(Observation(1), Memory(), POLICY, 0)[0].batch_size.desired == 8
    (decision,), _ = timeline(LATENCY, [(0, world(0, mean_work=None))])
    assert decision.batch_size.desired == 1
    assert decision.batch_size.reason == "the service time of a request is not known yet: 1 row needed"


def test_an_unknown_service_time_changes_nothing() -> None:
    assert sizes(timeline(LATENCY, [(0, world(0, mean_work=None, batch_size=5))])[0]) == [5]
    no_curve = with_sample(step_fixed_seconds=0, step_per_row_seconds=0)
    assert sizes(timeline(LATENCY, [(0, replace(no_curve, batch_size=5, mean_request_work_seconds=4.0))])[0]) == [5]
    no_curve = with_sample(step_fixed_seconds=None)
    assert sizes(timeline(LATENCY, [(0, replace(no_curve, batch_size=5, mean_request_work_seconds=4.0))])[0]) == [5]


def test_a_fit_that_says_rows_are_free_is_believed() -> None:
    free = replace(with_sample(step_per_row_seconds=-0.01), mean_request_work_seconds=4.0)
    assert sizes(timeline(LATENCY, [(0, free)])[0]) == [8]


def test_a_ready_pod_without_a_sample_lowers_nothing() -> None:
    observation = pool([1, None], mean_work=4, batch_size=8)
    (decision,), _ = timeline(LATENCY, [(0, observation)])
    assert decision.batch_size.desired == 8
    assert decision.batch_size.limits == (Limit.HELD_BY_MISSING_METRICS,)
    assert decision.batch_size.reason.endswith("held at 8, since a ready pod has no sample that counts")


def test_a_ready_pod_without_a_sample_does_not_stop_the_rise() -> None:
    assert sizes(timeline(LATENCY, [(0, pool([11, None], waiting=3, mean_work=4, batch_size=2))])[0]) == [8]


def test_without_any_sample_it_stays_within_its_bounds() -> None:
    lost = pool([None], batch_size=4)
    assert sizes(timeline(LATENCY, [(0, lost), (2, lost)])[0]) == [4, 4]
    narrow = replace(LATENCY, batching=BatchPolicy(Bounds(1, 2)))
    assert sizes(timeline(narrow, [(0, lost)])[0]) == [2]
    missing_depth = Observation(1, 4, pods=(pod("a", PodSample(1.0, 1.7e9 + 1)),), scrape_interval_seconds=2)
    assert sizes(timeline(LATENCY, [(0, missing_depth)])[0]) == [4]


def test_half_a_sample_is_not_taken_for_waiting() -> None:
    observation = Observation(
        2,
        8,
        pods=(pod("a", sample(1)), pod("b", replace(sample(1), requests_waiting=None))),
        scrape_interval_seconds=2,
        mean_request_work_seconds=4.0,
    )
    (decision,), _ = timeline(LATENCY, [(0, observation)])
    assert decision.batch_size.desired == 8
    assert decision.batch_size.limits == (Limit.HELD_BY_MISSING_METRICS,)
