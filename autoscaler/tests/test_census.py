from dataclasses import replace

import pytest
from worlds import STARTED, pod, pool, sample

from fluxpool_autoscaler import Observation, PodSample, Validity, age_limit_seconds
from fluxpool_autoscaler.census import coverage, take_census
from fluxpool_autoscaler.observation import gpu_utilization, queue_depth

NAN, INF = float("nan"), float("inf")


def seen(*pods: object, interval: float | None = 2) -> Observation:
    return Observation(replicas=len(pods), pods=tuple(pods), scrape_interval_seconds=interval)  # type: ignore[arg-type]


def test_a_fresh_sample_of_a_ready_pod_counts() -> None:
    census = take_census(seen(pod("a", sample(3))))
    assert (list(census.samples), census.absent, census.stale, census.unready) == (["a"], (), (), 0)


def test_a_ready_pod_without_a_sample_is_missing_and_not_idle() -> None:
    census = take_census(seen(pod("a", sample(3)), pod("b")))
    assert census.absent == ("b",)
    assert census.values(queue_depth) == [3]


@pytest.mark.parametrize(("age", "counts"), [(6.0, True), (6.001, False), (NAN, False)])
def test_a_sample_may_be_three_scrapes_old(age: float, counts: bool) -> None:
    census = take_census(seen(pod("a", sample(3, age=age))))
    assert (list(census.samples) == ["a"], census.stale == ("a",)) == (counts, not counts)


def test_a_minute_is_assumed_until_the_scrape_interval_is_learned() -> None:
    assert age_limit_seconds(seen(interval=None)) == 180


def test_a_pod_that_is_not_ready_is_unready_whatever_its_sample_says() -> None:
    census = take_census(seen(pod("a", sample(9), ready=False)))
    assert (census.ready, census.unready) == (0, 1)


def test_a_terminating_pod_is_neither_load_nor_capacity() -> None:
    observation = replace(seen(pod("a", sample(1)), pod("b", sample(9), terminating=True)), replicas=1)
    census = take_census(observation)
    assert (list(census.samples), census.unready) == (["a"], 0)


def test_pods_that_do_not_exist_yet_are_unready() -> None:
    assert take_census(pool([8, 8], replicas=5)).unready == 3


def test_surplus_pods_make_nobody_unready() -> None:
    assert take_census(pool([8, 8, 8], replicas=1)).unready == 0


@pytest.mark.parametrize(
    ("process_started", "counts"),
    [(STARTED, True), (STARTED - 2, True), (STARTED - 2.1, False), (STARTED - 600, False), (None, False), (NAN, False)],
)
def test_the_numbers_of_a_process_that_has_died_are_missing(process_started: float | None, counts: bool) -> None:
    old = replace(sample(0), process_started_at=process_started)
    assert (take_census(seen(pod("a", old))).ended == ()) is counts


def test_a_pod_whose_container_does_not_run_is_missing() -> None:
    assert take_census(seen(replace(pod("a", sample(0)), container_started_at=None))).ended == ("a",)


@pytest.mark.parametrize("nothing", [None, NAN, INF])
def test_no_value_of_a_signal_is_not_zero(nothing: float | None) -> None:
    for broken in (replace(sample(4), requests_waiting=nothing), replace(sample(4), requests_running=nothing)):
        assert queue_depth(broken) is None
    assert gpu_utilization(replace(sample(4), gpu_utilization_ratio=nothing)) is None


def test_coverage_tells_the_worst() -> None:
    fine, none, old = pod("a", sample(1)), pod("b"), pod("c", sample(1, age=100))
    starting = pod("d", ready=False)

    def validity(*pods: object) -> Validity:
        return coverage(take_census(seen(*pods)), queue_depth).validity

    assert validity(fine, starting) is Validity.COMPLETE
    assert validity(fine, none, old) is Validity.MISSING
    assert validity(fine, old) is Validity.STALE
    assert validity(starting) is Validity.NO_READY_PODS
    assert validity() is Validity.NO_READY_PODS


def test_coverage_counts_a_pod_only_with_every_gating_signal() -> None:
    half = pod("a", PodSample(age_seconds=1, process_started_at=STARTED, requests_waiting=0, requests_running=0))
    assert coverage(take_census(seen(half)), queue_depth).counted == ("a",)
    assert coverage(take_census(seen(half)), queue_depth, gpu_utilization).incomplete == ("a",)


def test_every_ready_pod_is_covered_once() -> None:
    ended = pod("e", replace(sample(1), process_started_at=0.0))
    half = pod("h", replace(sample(1), requests_waiting=NAN))
    seen_pods = seen(pod("a", sample(1)), pod("b"), ended, half, pod("s", sample(1, age=99)), pod("n", ready=False))
    covered = coverage(take_census(seen_pods), queue_depth)
    assert (covered.counted, covered.absent, covered.ended) == (("a",), ("b",), ("e",))
    assert (covered.incomplete, covered.stale, covered.ready) == (("h",), ("s",), 5)
    assert covered.missing == ("b", "e", "h")
