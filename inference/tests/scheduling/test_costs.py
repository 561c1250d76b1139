import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling_values import FLUX, SMALL, TALL, WIDE, calibration

from fluxpool_inference.configuration import Pace
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import (
    KNEE_GAIN,
    MOST_FACTORS,
    MOST_ROWS,
    WARM_ROWS,
    Calibration,
    Known,
    OnlineCosts,
    StepCurve,
    longest_request_seconds,
)

H200_BF16_FLOPS = 790e12


@pytest.mark.parametrize(("side", "tera_flop"), [(1024, 74.4), (512, 21.5)])
def test_a_step_of_flux_has_the_operations_that_torch_counts(side: int, tera_flop: float) -> None:
    assert FLUX.step_flop(Bucket.of_size(side, side, 512)) / 1e12 == pytest.approx(tera_flop, rel=0.01)


def test_the_fit_finds_the_line_through_exact_samples() -> None:
    curve = StepCurve.fit([(rows, 0.02 + 0.005 * rows) for rows in WARM_ROWS])
    assert (curve.fixed_seconds, curve.per_row_seconds) == pytest.approx((0.02, 0.005))


@pytest.mark.parametrize(
    ("samples", "fixed", "per_row"),
    [
        ([(4, 0.8)], 0.0, 0.2),  # one sample: all per row
        (
            [(1, 0.1), (2, 0.3), (4, 0.7)],
            0.0,
            0.1264,
        ),  # a negative fixed part is none: (10 + 6.67 + 5.71) / (100 + 44.4 + 32.7)
        ([(1, 0.4), (2, 0.2)], 0.24, 0.0),  # fewer seconds for more rows is noise
    ],
)
def test_no_coefficient_of_a_fit_is_negative(samples: list[tuple[int, float]], fixed: float, per_row: float) -> None:
    curve = StepCurve.fit(samples)
    assert (curve.fixed_seconds, curve.per_row_seconds) == pytest.approx((fixed, per_row), rel=0.02)


@given(
    fixed=st.floats(0, 10, allow_subnormal=False),
    per_row=st.floats(1e-4, 10),
    noise=st.lists(st.floats(0.7, 1.4), min_size=4, max_size=4),
)
def test_a_fit_of_noisy_samples_is_never_negative(fixed: float, per_row: float, noise: list[float]) -> None:
    curve = StepCurve.fit((rows, n * (fixed + per_row * rows)) for rows, n in zip(WARM_ROWS, noise, strict=True))
    assert curve.fixed_seconds >= 0
    assert curve.per_row_seconds >= 0


def test_a_compute_bound_size_has_its_knee_at_one_row_and_an_overhead_bound_one_later() -> None:
    assert StepCurve(0.004, 0.094).knee() == 1
    assert StepCurve(0.2, 0.05).knee() == 10  # 1 more row: 0.2 / 11 = 0.018 of 0.0702, 2.6 %; before, 3.1 %
    assert StepCurve(0.0, 1.0).knee() == 1


def test_a_lower_gain_moves_the_knee_and_none_leaves_it_to_the_batch_size() -> None:
    curve = StepCurve(0.013, 0.0196)
    assert [curve.knee(gain) for gain in (0.03, 0.01, 0.0)] == [4, 8, MOST_ROWS]
    assert StepCurve(0.0, 1.0).knee(0.0) == MOST_ROWS


@given(fixed=st.floats(0, 100), per_row=st.floats(1e-3, 10))
def test_the_knee_is_where_one_more_row_stops_paying(fixed: float, per_row: float) -> None:
    curve = StepCurve(fixed, per_row)
    knee = curve.knee()

    def per_row_seconds(rows: int) -> float:
        return fixed / rows + per_row

    def gain(rows: int) -> float:
        return 1 - per_row_seconds(rows + 1) / per_row_seconds(rows)

    assert gain(knee) <= KNEE_GAIN + 1e-9
    assert knee == 1 or gain(knee - 1) >= KNEE_GAIN - 1e-9


def test_a_size_never_measured_is_predicted_by_its_operations() -> None:
    costs = Calibration(FLUX, Bucket.of_size(1024, 1024, 512), StepCurve(0.004, 0.094), 0.03, 0.06)
    predicted = costs.step_seconds(Bucket.of_size(512, 512, 512), 4)
    assert predicted == pytest.approx(0.004 + 4 * 0.094 * 21.5 / 74.4, rel=0.01)


def test_the_pace_is_a_floor_under_every_step_whatever_its_size() -> None:
    paced = Calibration(FLUX, SMALL, StepCurve(0.001, 0.002), 0.01, 0.01, Pace(0.2, 0.05))
    assert paced.step_seconds(SMALL, 4) == paced.step_seconds(WIDE, 4) == pytest.approx(0.4)
    curve = paced.curve(SMALL)
    assert (curve.fixed_seconds, curve.per_row_seconds) == pytest.approx((0.2, 0.05))
    assert paced.work_seconds(SMALL, 2) == pytest.approx(2 * 0.25 + 0.02)  # a work-second is a paced one


def test_a_step_that_is_slower_than_its_pace_costs_what_it_takes() -> None:
    slow = Calibration(FLUX, SMALL, StepCurve(1.0, 2.0), 0.01, 0.01, Pace(0.2, 0.05))
    assert slow.step_seconds(SMALL, 1) == 3.0


def test_work_is_encoding_and_steps_and_decoding_alone_on_the_device() -> None:
    costs = calibration(fixed=0.4, per_row=0.1, encode=0.05, decode=0.2)
    assert costs.work_seconds(SMALL, 4) == pytest.approx(0.05 + 4 * 0.5 + 0.2)
    assert costs.work_seconds(SMALL, 4, encode=False) == pytest.approx(2.2)


def test_a_pair_is_the_work_of_two_rows_alone_and_of_one_decoding_whatever_else_the_limit_holds() -> None:
    costs = calibration(fixed=0.4, per_row=0.1, encode=0.05, decode=0.2)
    assert costs.work_seconds(SMALL, 4, rows=2) == pytest.approx(2 * 0.05 + 4 * 2 * 0.5 + 0.2)
    assert costs.work_seconds(SMALL, 4, rows=2, encode=False, decode=False) == pytest.approx(4.0)


def test_text_costs_by_its_length_and_an_image_by_its_pixels() -> None:
    costs = calibration(encode=0.05, decode=0.2)
    longer = Bucket(4, 8, 128)
    assert costs.prompt_seconds(longer) == pytest.approx(0.1)
    assert costs.image_seconds(longer) == costs.image_seconds(TALL) == pytest.approx(0.4)


def test_traffic_corrects_the_forecast_of_its_bucket_only_and_never_the_work() -> None:
    frozen = calibration()
    online = OnlineCosts(frozen)
    for _ in range(100):
        online.saw_step(SMALL, 2, 2 * frozen.step_seconds(SMALL, 2))
        online.saw_prompt(SMALL, 0.0)
        online.saw_image(SMALL, 3 * frozen.image_seconds(SMALL))
    assert online.step_seconds(SMALL, 1) == pytest.approx(2 * frozen.step_seconds(SMALL, 1), rel=0.01)
    assert online.step_seconds(WIDE, 1) == frozen.step_seconds(WIDE, 1)
    assert online.prompt_seconds(SMALL) < 0.2 * frozen.prompt_seconds(SMALL)
    assert online.image_seconds(WIDE) == pytest.approx(3 * frozen.image_seconds(WIDE), rel=0.01)
    assert frozen == calibration()


def test_what_steps_took_is_known_in_seconds_whatever_a_later_warm_up_measures() -> None:
    online = OnlineCosts(calibration(encode=0.05, decode=0.2))
    for _ in range(100):
        online.saw_step(SMALL, 1, 0.75)
        online.saw_step(WIDE, 1, 1.5)
        online.saw_prompt(SMALL, 0.1)
        online.saw_image(SMALL, 0.1)
    quick = calibration(fixed=0.3, per_row=0.05, encode=0.04, decode=0.3)
    resumed = OnlineCosts.resumed(quick, online.known())
    assert resumed.step_seconds(SMALL, 1) == pytest.approx(0.75, rel=0.01)
    assert resumed.step_seconds(WIDE, 1) == pytest.approx(1.5, rel=0.01)
    assert resumed.prompt_seconds(SMALL) == pytest.approx(0.1, rel=0.01)
    assert resumed.image_seconds(SMALL) == pytest.approx(0.1, rel=0.01)
    assert resumed.step_seconds(TALL, 1) == quick.step_seconds(TALL, 1), "never seen, so as measured now"
    assert OnlineCosts.resumed(quick, resumed.known()) == resumed


def test_what_was_known_of_a_far_faster_device_is_held_within_bounds() -> None:
    online = OnlineCosts.resumed(calibration(fixed=100.0), OnlineCosts(calibration(fixed=0.1)).known())
    assert online == OnlineCosts.resumed(calibration(fixed=100.0), online.known())
    known = Known(calibration(fixed=0.0, per_row=0.001), ((SMALL, 1.0),))
    assert OnlineCosts.resumed(calibration(), known).step_seconds(SMALL, 1) == pytest.approx(0.05)  # a tenth


def test_only_the_factors_of_the_sizes_that_ran_last_are_remembered_here_and_in_what_is_kept() -> None:
    costs = calibration()
    online = OnlineCosts(costs)

    def ran(width: int) -> None:
        bucket = Bucket(4, width, 64)
        online.saw_step(bucket, 1, 2 * costs.step_seconds(bucket, 1))

    def widths() -> list[int]:
        return [bucket.width for bucket, _ in online.known().steps]

    for width in range(1, MOST_FACTORS + 1):
        ran(width)
    ran(1)  # known, so none has to go, and it is the latest
    assert widths() == [*range(2, MOST_FACTORS + 1), 1]
    ran(1000)
    assert widths() == [*range(3, MOST_FACTORS + 1), 1, 1000]
    assert online.step_seconds(Bucket(4, 1, 64), 1) > 1.15 * costs.step_seconds(Bucket(4, 1, 64), 1), "learned twice"
    more = dataclasses.replace(online.known(), steps=((Bucket(4, 2000, 64), 3.0), *online.known().steps))
    resumed = OnlineCosts.resumed(costs, more)
    assert [bucket for bucket, _ in resumed.known().steps] == [bucket for bucket, _ in online.known().steps]


def test_one_absurd_duration_hardly_moves_a_forecast() -> None:
    frozen = calibration()
    online = OnlineCosts(frozen)
    online.saw_step(SMALL, 1, 1e6)
    assert online.step_seconds(SMALL, 1) <= 2 * frozen.step_seconds(SMALL, 1)


def test_the_longest_request_has_most_images_of_most_pixels_and_steps() -> None:
    costs = calibration()
    seconds = longest_request_seconds(costs, max_pixels=32 * 256, max_steps=50, max_images=4, text_tokens=64)
    assert seconds == pytest.approx(4 * costs.work_seconds(WIDE, 50))
