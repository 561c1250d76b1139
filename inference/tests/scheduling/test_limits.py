from scheduling_values import SMALL, WIDE, calibration

from fluxpool_inference.scheduling.limits import RowLimits


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
