import pytest
from scheduling_values import SMALL, WIDE, Image, calibration

from fluxpool_inference.scheduling.forecast import forecast
from fluxpool_inference.scheduling.limits import RowLimits, draining_batch_size
from fluxpool_inference.scheduling.memory import Memory, PeakLine


def test_the_batch_size_is_a_ceiling_over_the_knee() -> None:
    limits = RowLimits(calibration(fixed=0.2, per_row=0.05), batch_size=4)
    assert limits(SMALL) == 4
    limits.batch_size = 32
    assert limits(SMALL) == 10  # the knee of this curve
    assert limits(SMALL) == 10  # remembered


def test_memory_lowers_its_bucket_alone_and_never_below_one_row() -> None:
    limits = RowLimits(calibration(fixed=2.0), batch_size=8)
    limits.lower(SMALL, 3)
    assert (limits(SMALL), limits(WIDE)) == (3, 8)
    limits.lower(SMALL, 0)
    assert limits(SMALL) == 1


def test_what_warm_up_held_limits_the_size_that_was_warmed() -> None:
    limits = RowLimits(calibration(fixed=2.0), batch_size=8, rows_held=2)
    assert (limits(SMALL), limits(WIDE)) == (2, 8)


@pytest.mark.parametrize(
    ("batch_size", "counted_on", "drains_at"),
    [
        (1, [8, 8, 4], 8),  # lowered since
        (8, [1, 4], 8),  # raised since
        (4, [4], 4),
        (2, [], 2),  # nothing is in flight
    ],
)
def test_a_drain_has_as_many_rows_as_any_admission_counted_on(
    batch_size: int, counted_on: list[int], drains_at: int
) -> None:
    assert draining_batch_size(batch_size, counted_on) == drains_at


def test_what_was_admitted_at_eight_rows_is_drained_in_the_time_that_admission_saw() -> None:
    costs = calibration(fixed=0.4, per_row=0.1, encode=0.0, decode=0.0)
    images = [Image(number, SMALL, float(number), steps_left=20) for number in range(8)]

    def drained(rows: int) -> float:
        return forecast([], images, costs, RowLimits(costs, rows), 0.0).drained

    assert drained(8) == pytest.approx(20 * 1.2)
    assert drained(1) == pytest.approx(8 * 20 * 0.5)  # 80 s: 3.3 times as long, and beyond many a drain
    assert drained(draining_batch_size(1, [8] * 8)) == drained(8)


def memory(room_bytes: int) -> Memory:
    """10 bytes per token of a step; an image in flight keeps 2 per token."""
    return Memory(SMALL, PeakLine(0.0, 10.0), 0, 0, 2.0, 2.0, room_bytes=room_bytes)


def test_memory_bounds_the_rows_of_every_size_by_what_was_measured_of_one() -> None:
    limits = RowLimits(calibration(fixed=2.0), batch_size=8, memory=memory(3 * 10 * SMALL.tokens))
    assert (limits(SMALL), limits(WIDE)) == (3, 2)
    limits.batch_size = 2
    assert limits(SMALL) == 2
    limits.lower(SMALL, 1)
    assert limits(SMALL) == 1, "what memory was seen not to hold counts for more than what was predicted"


def test_images_in_flight_take_from_the_rows_of_a_step_but_never_the_last_one() -> None:
    limits = RowLimits(calibration(fixed=2.0), batch_size=8, memory=memory(4 * 10 * SMALL.tokens))
    limits.keeps([SMALL] * 5)
    assert limits.in_flight_bytes == 5 * 2 * SMALL.tokens
    assert limits(SMALL) == 3
    limits.keeps([SMALL] * 1000)
    assert limits(SMALL) == 1, "who was admitted is tried"
    limits.keeps([])
    assert limits(SMALL) == 4


def test_where_memory_is_not_measured_nothing_is_limited_by_it() -> None:
    limits = RowLimits(calibration(fixed=2.0), batch_size=8)
    limits.keeps([SMALL] * 1000)
    assert (limits(SMALL), limits.in_flight_bytes) == (8, 0.0)
