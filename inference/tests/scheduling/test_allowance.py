"""A promised wait is a bound: forecasts are held against limits with an allowance for their errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.scheduling.allowance import MOST, PROVEN, REMEMBERED, UNPROVEN, Allowance


def after(*ratios: float) -> Allowance:
    """One that saw waits of 10 s turn out so many times as long."""
    allowance = Allowance(telling_seconds=5.0)
    for ratio in ratios:
        allowance.saw(10.0, 10.0 * ratio)
    return allowance


def test_before_anything_was_seen_and_until_enough_was_there_is_a_reserve() -> None:
    assert after().factor == UNPROVEN
    assert after(*[1.0] * (PROVEN - 1)).factor == UNPROVEN
    assert after(*[1.0] * PROVEN).factor == 1.0


def test_few_waits_that_were_much_longer_than_forecast_count_at_once() -> None:
    assert after(1.3).factor == pytest.approx(1.3)


def test_one_wait_in_a_hundred_may_be_longer() -> None:
    usual = [1.05] * 198
    assert after(*usual, 1.4, 1.4).factor == pytest.approx(1.05)
    assert after(*usual[1:], 1.4, 1.4, 1.4).factor == pytest.approx(1.4)


def test_forecasts_that_are_too_long_are_no_reason_to_admit_more_than_was_promised() -> None:
    assert after(*[0.5] * REMEMBERED).factor == 1.0


def test_a_bad_time_is_forgotten() -> None:
    assert after(*[1.4] * REMEMBERED, *[1.02] * REMEMBERED).factor == pytest.approx(1.02)


def test_short_waits_tell_nothing() -> None:
    allowance = Allowance(telling_seconds=5.0)
    allowance.saw(0.01, 1.0)
    allowance.saw(0.0, 1.0)
    assert allowance.factor == UNPROVEN


@given(st.lists(st.floats(0.01, 100.0), min_size=PROVEN))
def test_it_covers_nearly_all_that_was_seen_lately_unless_that_is_absurd(ratios: list[float]) -> None:
    factor = after(*ratios).factor
    latest = ratios[-REMEMBERED:]
    assert 1.0 <= factor <= MOST
    assert factor == MOST or sum(ratio > factor * (1 + 1e-9) for ratio in latest) <= 0.01 * len(latest)
