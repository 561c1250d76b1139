import pytest

from fluxpool_autoscaler import ColdStart, summarize


def test_two_minutes_are_assumed_before_the_first_start() -> None:
    assert summarize([]) == ColdStart(120, 120, 120, starts=0)


def test_one_start_is_every_percentile() -> None:
    assert summarize([42]) == ColdStart(42, 42, 42, starts=1)


def test_percentiles_are_measured_values_by_nearest_rank() -> None:
    assert summarize([10, 20, 30, 40]) == ColdStart(20, 40, 40, starts=4)


@pytest.mark.parametrize("order", [1, -1])
def test_percentiles_do_not_depend_on_the_order(order: int) -> None:
    assert summarize(list(range(1, 21))[::order]) == ColdStart(10, 18, 20, starts=20)


def test_only_the_last_twenty_starts_count() -> None:
    assert summarize([900] * 5 + [30] * 20) == ColdStart(30, 30, 30, starts=20)
