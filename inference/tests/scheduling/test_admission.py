import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.scheduling.admission import (
    AdmissionPolicy,
    Offer,
    Refusal,
    drain_problem,
    refusal,
    retry_after_seconds,
)
from fluxpool_inference.scheduling.forecast import Forecast
from fluxpool_inference.values import RejectReason

POLICY = AdmissionPolicy(max_queue_seconds=30, max_waiting=10, drain_seconds=300)


def offer(
    starts: list[float], ends: list[float], *, waiting: int = 0, deadline: float | None = None, others: float = 0.0
) -> Offer:
    numbers = list(range(len(starts)))
    forecast = Forecast(dict(enumerate(starts)), {**dict(enumerate(ends)), 99: others})
    return Offer(numbers, waiting, deadline, forecast)


def test_what_keeps_all_rules_is_admitted() -> None:
    assert refusal(POLICY, offer([30.0], [300.0], waiting=9, deadline=300.0)) is None


def test_a_full_queue_refuses_all_images_of_a_request_or_none() -> None:
    assert refusal(POLICY, offer([1.0, 2.0], [3.0, 4.0], waiting=8)) is None
    assert refusal(POLICY, offer([1.0, 2.0], [3.0, 4.0], waiting=9)) == Refusal(RejectReason.QUEUE_FULL, 1.0)


def test_the_wait_of_a_request_is_that_of_its_first_image() -> None:
    assert refusal(POLICY, offer([29.0, 60.0], [60.0, 90.0])) is None
    assert refusal(POLICY, offer([31.0, 60.0], [60.0, 90.0])) == Refusal(RejectReason.WAIT_TOO_LONG, 31.0)


def test_nothing_is_admitted_that_could_not_be_finished_after_a_sigterm() -> None:
    late = offer([0.0], [5.0], others=310.0)  # an urgent image, which would push others beyond the end
    assert refusal(POLICY, late) == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(10.0))


def test_a_deadline_is_that_of_the_last_image() -> None:
    images = offer([0.0, 5.0], [5.0, 10.0], deadline=9.0)
    assert refusal(POLICY, images) == Refusal(RejectReason.DEADLINE, 0.0)
    assert refusal(POLICY, offer([0.0, 5.0], [5.0, 10.0], deadline=10.0)) is None


@given(wait=st.floats(0, 1e4), chance=st.floats(0, 1))
def test_retry_after_is_the_estimate_with_jitter_and_never_a_hammering(wait: float, chance: float) -> None:
    seconds = retry_after_seconds(wait, chance)
    assert max(wait, 1) <= seconds <= 1.25 * max(wait, 1)


def test_a_drain_long_enough_for_the_queue_and_the_longest_request_is_no_problem() -> None:
    assert drain_problem(POLICY, 270.0) is None


def test_a_drain_too_short_names_the_settings_to_change() -> None:
    problem = drain_problem(POLICY, 412.34)
    assert problem is not None
    for name in ("drain_seconds is 300", "max_queue_seconds (30)", "412.3 s", "442.3", "max_steps", "max_images"):
        assert name in problem
