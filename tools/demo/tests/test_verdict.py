from dataclasses import replace

import pytest
from recordings import BATCH_UP, PODS, REPLICAS_UP, SAMPLES, good, request, sample

from fluxpool_demo.record import Decision, Knob, Pacing, Recording
from fluxpool_demo.verdict import judge


def missed(run: Recording) -> list[str]:
    return [check.name for check in judge(run) if not check.met]


def test_a_good_run_misses_nothing() -> None:
    assert missed(good()) == []


def test_one_failed_request_is_enough_to_miss_and_its_error_is_told() -> None:
    run = good(requests=(request(31), request(32, ok=False, error="RateLimitError: busy")))
    [check] = [check for check in judge(run) if not check.met]
    assert check.name == "no request failed"
    assert check.found == "1 of 2 failed, first: RateLimitError: busy"


def test_a_run_without_requests_proves_nothing() -> None:
    assert missed(good(requests=())) == ["no request failed"]


def test_replicas_before_the_batch_size_are_the_wrong_order() -> None:
    early = replace(REPLICAS_UP, at=BATCH_UP.at - 1)
    assert missed(good(decisions=(early, BATCH_UP))) == ["the batch size went up before the replicas"]


def test_both_in_one_write_is_not_first_the_one_then_the_other() -> None:
    together = replace(REPLICAS_UP, at=BATCH_UP.at)
    assert missed(good(decisions=(BATCH_UP, together))) == ["the batch size went up before the replicas"]


def test_it_counts_when_pods_run_with_the_batch_size_not_when_it_was_decided() -> None:
    # Decided in time, but the push reached the pods only after the replicas were raised.
    late = tuple(s if s.at != 43 else replace(s, batch_size=2) for s in SAMPLES)
    assert missed(good(samples=late)) == ["the batch size went up before the replicas"]


def test_what_happened_before_the_load_does_not_count() -> None:
    start_up = Decision(20, Knob.BATCH_SIZE, 2, 8)
    assert missed(good(decisions=(start_up, REPLICAS_UP))) == ["the batch size went up before the replicas"]


def test_a_restarted_pod_is_named() -> None:
    run = good(pods=(replace(PODS[0], restarts=1), PODS[1]))
    [check] = [check for check in judge(run) if not check.met]
    assert check.name == "no pod restarted"
    assert "tiny-a" in check.found


def test_a_pod_that_was_replaced_under_load_is_a_restart_by_another_name() -> None:
    run = good(pods=(replace(PODS[0], ending_at=50, gone_at=60), PODS[1]))
    assert missed(run) == ["no pod was replaced while load rose"]


def test_pods_that_end_after_the_load_are_the_way_down() -> None:
    run = good(pods=(replace(PODS[0], ending_at=110, gone_at=118), PODS[1]))
    assert missed(run) == []


def test_replicas_that_never_became_ready_did_not_follow() -> None:
    stuck = tuple(replace(s, ready=1) for s in SAMPLES)
    assert missed(good(samples=stuck)) == ["replicas followed and served"]


@pytest.mark.parametrize(
    "last",
    [sample(130, replicas=4), sample(130, batch_size=8), sample(130, pods=2), sample(130, batch_size=None)],
    ids=["desired", "batch size", "a pod still ends", "unknown"],
)
def test_a_knob_that_stays_up_has_not_come_down(last: object) -> None:
    assert missed(good(samples=(*SAMPLES[:-1], last))) == ["both came down again"]


@pytest.mark.parametrize(("overruns", "met"), [(0, True), (10, True), (11, False)])
def test_the_pace_may_overrun_in_one_step_of_a_hundred(overruns: int, met: bool) -> None:
    assert (missed(good(pacing=Pacing(1000, overruns))) == []) is met


def test_without_paced_steps_the_pace_was_not_held() -> None:
    assert missed(good(pacing=Pacing())) == ["the pace was held"]
