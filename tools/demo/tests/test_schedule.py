from itertools import pairwise

import pytest

from fluxpool_demo.schedule import Schedule, Step, constant_arrivals, poisson_arrivals

SCHEDULE = Schedule((Step("calm", 10, 1), Step("up", 20, 4), Step("silence", 5, 0), Step("again", 10, 2)))


def test_steps_follow_one_another_without_a_gap() -> None:
    assert SCHEDULE.starts == (0, 10, 30, 35)
    assert SCHEDULE.seconds == 45


def test_a_rise_is_where_the_rate_goes_up_and_the_first_step_rises_from_nothing() -> None:
    assert SCHEDULE.rises == (0, 10, 35)


@pytest.mark.parametrize(("second", "name"), [(0, "calm"), (9.9, "calm"), (10, "up"), (31, "silence"), (44.9, "again")])
def test_the_step_that_is_on_is_found_by_its_second(second: float, name: str) -> None:
    step = SCHEDULE.step_at(second)
    assert step is not None
    assert step.name == name


@pytest.mark.parametrize("second", [-0.1, 45, 100])
def test_outside_the_schedule_no_step_is_on(second: float) -> None:
    assert SCHEDULE.step_at(second) is None


def test_constant_arrivals_are_evenly_spaced_and_as_many_as_rate_times_seconds() -> None:
    times = constant_arrivals(SCHEDULE)
    assert len(times) == 10 + 80 + 0 + 20
    first = [time for time in times if time < 10]
    assert first == [0.5 + i for i in range(10)]


@pytest.mark.parametrize("arrivals", [constant_arrivals(SCHEDULE), poisson_arrivals(SCHEDULE, seed=1)])
def test_arrivals_ascend_and_stay_out_of_silence(arrivals: tuple[float, ...]) -> None:
    assert all(before < after for before, after in pairwise(arrivals))
    assert not [time for time in arrivals if 30 <= time < 35]
    assert arrivals[-1] < SCHEDULE.seconds


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    times = poisson_arrivals(Schedule((Step("long", 10_000, 3),)), seed=7)
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 3, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.03)  # exponential: as wide as it is long


def test_equal_seeds_draw_equal_arrivals_and_others_do_not() -> None:
    assert poisson_arrivals(SCHEDULE, seed=1) == poisson_arrivals(SCHEDULE, seed=1)
    assert poisson_arrivals(SCHEDULE, seed=1) != poisson_arrivals(SCHEDULE, seed=2)


@pytest.mark.parametrize(("seconds", "rate"), [(0, 1), (-1, 1), (1, -1)])
def test_a_step_that_cannot_be_is_refused(seconds: float, rate: float) -> None:
    with pytest.raises(ValueError, match="lasts longer"):
        Step("wrong", seconds, rate)
