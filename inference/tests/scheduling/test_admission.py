from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.outcomes import RejectReason
from fluxpool_inference.scheduling.admission import (
    AdmissionPolicy,
    Offer,
    Promise,
    Refusal,
    delayed,
    drain_problem,
    longest_wait,
    refusal,
    retry_after_seconds,
    too_long,
)
from fluxpool_inference.scheduling.forecast import Forecast

POLICY = AdmissionPolicy(max_queue_seconds=30, max_waiting=10, drain_seconds=300)
LONGEST = 26.0
"""Forecast wait that may turn out to be nearly `max_queue_seconds`."""
MORE = 0.15 * LONGEST


def offer(
    starts: list[float], ends: list[float], *, waiting: int = 0, deadline: float | None = None, others: float = 0.0
) -> Offer:
    numbers = list(range(len(starts)))
    forecast = Forecast(dict(enumerate(starts)), {**dict(enumerate(ends)), 99: others})
    return Offer(numbers, waiting, deadline, forecast)


def test_what_keeps_all_rules_is_admitted() -> None:
    assert refusal(POLICY, offer([LONGEST], [300 - MORE], waiting=9, deadline=300.0)) is None


def test_a_full_queue_refuses_all_images_of_a_request_or_none() -> None:
    assert refusal(POLICY, offer([1.0, 2.0], [3.0, 4.0], waiting=8)) is None
    assert refusal(POLICY, offer([1.0, 2.0], [3.0, 4.0], waiting=9)) == Refusal(RejectReason.QUEUE_FULL, 1.0)


def test_the_wait_of_a_request_is_that_of_its_first_image() -> None:
    assert refusal(POLICY, offer([LONGEST, 60.0], [60.0, 90.0])) is None
    assert refusal(POLICY, offer([26.2, 60.0], [60.0, 90.0])) == Refusal(RejectReason.WAIT_TOO_LONG, 26.2)


def test_nothing_is_admitted_that_could_not_be_finished_after_a_sigterm() -> None:
    late = offer([0.0], [5.0], others=310.0)  # an urgent image, which would push others beyond the end
    assert refusal(POLICY, late) == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(10.0))
    behind_others = offer([20.0], [21.0], others=298.0)
    assert refusal(POLICY, behind_others) == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(1.0))


def test_a_deadline_is_that_of_the_last_image() -> None:
    images = offer([0.0, 5.0], [5.0, 10.0], deadline=9.0)
    assert refusal(POLICY, images) == Refusal(RejectReason.DEADLINE, 0.0)
    assert refusal(POLICY, offer([0.0, 5.0], [5.0, 10.0], deadline=10.0)) is None


def test_a_deadline_allows_for_a_longer_wait_and_for_nothing_where_nobody_waits() -> None:
    assert refusal(POLICY, offer([20.0], [25.0], deadline=28.0)) is None
    assert refusal(POLICY, offer([20.0], [25.0], deadline=27.9)) == Refusal(RejectReason.DEADLINE, 20.0)
    assert refusal(POLICY, offer([0.0], [300.0], deadline=300.0)) is None


def test_later_images_of_a_request_may_be_promised_more_than_the_longest_wait() -> None:
    assert longest_wait(POLICY, 10.0) == 30
    assert longest_wait(POLICY, 60.0) == pytest.approx(69.0)


@given(wait=st.floats(0, 100), gone=st.floats(0, 1))
def test_nobody_is_late_for_a_promise_as_long_as_all_goes_as_foreseen(wait: float, gone: float) -> None:
    elapsed = gone * wait
    promise = Promise(7, begins_within=longest_wait(POLICY, wait) - elapsed, ends_within=None)
    assert promise.broken_by(Forecast({7: wait - elapsed}, {})) <= 1e-9


def overtaking(promise: Promise, *, starts: float = 0.0, ends: float = 0.0) -> Offer:
    """An image that would begin at once, before another that would begin and end then."""
    ahead = Forecast({0: 0.0, 7: starts}, {0: 1.0, 7: ends})
    return Offer([0], 1, None, ahead, [promise])


def test_an_image_that_waits_is_not_overtaken_beyond_the_wait_that_it_was_promised() -> None:
    promise = Promise(7, begins_within=12.0, ends_within=None)
    assert refusal(POLICY, overtaking(promise, starts=10.0)) is None
    assert refusal(POLICY, overtaking(promise, starts=20.0)) == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(11.0))


def test_an_image_is_not_overtaken_until_its_client_has_gone() -> None:
    promise = Promise(7, begins_within=None, ends_within=20.0)
    assert refusal(POLICY, overtaking(promise, ends=20.0)) is None
    assert refusal(POLICY, overtaking(promise, ends=23.0)) == Refusal(RejectReason.WAIT_TOO_LONG, 3.0)
    assert refusal(POLICY, overtaking(promise, starts=10.0, ends=18.0)) is None
    assert refusal(POLICY, overtaking(promise, starts=10.0, ends=19.5)) == Refusal(RejectReason.WAIT_TOO_LONG, 1.0)


def test_an_image_that_has_begun_and_whose_client_waits_for_ever_may_be_overtaken() -> None:
    promise = Promise(7, begins_within=None, ends_within=None)
    assert refusal(POLICY, overtaking(promise, starts=200.0, ends=250.0)) is None


def test_where_several_images_are_overtaken_the_latest_tells_when_to_come_back() -> None:
    ahead = Forecast({0: 3.0, 7: 10.0, 8: 10.0}, {0: 4.0})
    promises = [Promise(7, 5.0, None), Promise(8, 1.0, None)]
    refused = refusal(POLICY, Offer([0], 2, None, ahead, promises))
    assert refused == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(10.5))


@pytest.mark.parametrize(
    "broken",
    [
        offer([1.0], [2.0], waiting=10),
        offer([LONGEST + 1], [40.0]),
        offer([1.0], [2.0], others=301.0),
        offer([1.0], [9.0], deadline=8.0),
    ],
)
def test_promises_are_looked_at_only_if_all_else_is_kept(broken: Offer) -> None:
    def asked() -> Iterator[Promise]:
        raise AssertionError
        yield

    assert refusal(POLICY, replace(broken, promises=asked())) is not None
    with pytest.raises(AssertionError):
        refusal(POLICY, replace(offer([1.0], [2.0]), promises=asked()))


def test_a_promise_is_endangered_if_the_offer_makes_it_late_or_later() -> None:
    kept, broken, late_already, later = (Promise(number, None, 10.0) for number in (1, 2, 3, 4))
    ahead = Forecast({}, {1: 9.0, 2: 11.0, 3: 12.0 + 1e-12, 4: 13.0})
    before = Forecast({}, {1: 8.0, 2: 9.0, 3: 12.0, 4: 12.0})
    assert delayed([kept, broken, late_already, later], ahead, lambda: before) == [broken, later]


def test_what_would_be_without_the_offer_is_asked_only_where_something_would_be_late() -> None:
    def asked() -> Forecast:
        raise AssertionError

    assert delayed([Promise(1, 5.0, 10.0)], Forecast({1: 1.0}, {1: 9.0}), asked) == []


def test_the_drain_allows_for_a_longer_wait_of_those_before_an_urgent_offer() -> None:
    def urgent(drained: float) -> Offer:
        return Offer([0], 1, None, Forecast({0: 0.0, 7: 20.0}, {0: 1.0, 7: drained}))

    assert refusal(POLICY, urgent(297.0)) is None
    assert refusal(POLICY, urgent(298.0)) == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(1.0))


@given(wait=st.floats(0, 1e4), chance=st.floats(0, 1))
def test_retry_after_is_the_estimate_with_jitter_and_never_a_hammering(wait: float, chance: float) -> None:
    seconds = retry_after_seconds(wait, chance)
    assert max(wait, 1) <= seconds <= 1.25 * max(wait, 1)


def test_a_drain_long_enough_for_the_queue_and_the_longest_request_is_no_problem() -> None:
    assert drain_problem(POLICY, 270.0) is None


def test_a_request_may_take_what_a_drain_leaves_after_the_longest_wait() -> None:
    assert too_long(POLICY, 270.0) is None
    problem = too_long(POLICY, 271.0)
    assert problem is not None
    assert problem.startswith(
        "takes 271 s on this server, which finishes requests of at most 270 s: ask for fewer images"
    )


def test_a_drain_too_short_names_the_settings_to_change() -> None:
    problem = drain_problem(POLICY, 412.34)
    assert problem is not None
    for name in (
        "drain_seconds is 300",
        "max_queue_seconds (30)",
        "412.3 s",
        "442.3",
        "max_steps",
        "max_images",
    ):
        assert name in problem
