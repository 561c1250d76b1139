import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling_values import SMALL, TALL, WIDE, Image, calibration

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards, choose, order
from fluxpool_inference.scheduling.costs import Calibration
from fluxpool_inference.scheduling.forecast import Forecast, forecast

COSTS = calibration(fixed=0.4, per_row=0.1, encode=0.05, decode=0.2)  # a step: 0.5 s, 0.6 s, …


def ahead(*images: Image, offered: tuple[Image, ...] = (), rows: int = 2, elapsed: float = 0.0) -> Forecast:
    return forecast(sorted(images, key=order), offered, COSTS, lambda _: rows, elapsed)


def test_an_idle_engine_starts_at_once() -> None:
    result = ahead(offered=(Image(1, SMALL, 9.0, 4),))
    assert result.starts == {1: 0.0}
    assert result.ends[1] == result.drained == pytest.approx(0.05 + 4 * 0.5 + 0.2)


def test_an_empty_engine_is_drained_now() -> None:
    assert ahead().drained == 0.0


def test_an_image_joins_after_the_step_that_is_running() -> None:
    result = ahead(Image(1, SMALL, 5.0, 3, started=True), offered=(Image(2, SMALL, 9.0, 2),), elapsed=0.2)
    assert result.starts == {2: pytest.approx(0.3)}  # 0.5 s a step, 0.2 s of it gone
    joined = 0.3 + 0.05 + 2 * 0.6
    assert result.ends == {1: pytest.approx(joined + 0.2), 2: pytest.approx(joined + 0.4)}


def test_a_step_that_takes_longer_than_expected_is_expected_to_end_now() -> None:
    result = ahead(Image(1, SMALL, 5.0, 3, started=True), offered=(Image(2, SMALL, 9.0, 2),), elapsed=7.0)
    assert result.starts == {2: 0.0}


def test_an_image_in_its_last_step_is_decoded_after_it() -> None:
    result = ahead(Image(1, SMALL, 5.0, 1, started=True), elapsed=0.1)
    assert result.ends == {1: pytest.approx(0.4 + 0.2)}


def test_an_image_whose_steps_are_done_waits_only_for_its_decoding() -> None:
    assert ahead(Image(1, SMALL, 5.0, 0, started=True)).ends == {1: pytest.approx(0.2)}


def test_a_full_step_makes_the_less_urgent_wait_for_an_end() -> None:
    running = (Image(1, SMALL, 5.0, 2), Image(2, SMALL, 6.0, 4))
    result = ahead(*running, offered=(Image(3, SMALL, 9.0, 1),))
    assert result.starts[3] == pytest.approx(2 * 0.05 + 2 * 0.6 + 0.2)


def test_a_more_urgent_image_is_not_kept_waiting_by_a_full_step() -> None:
    running = (Image(1, SMALL, 5.0, 2, started=True), Image(2, SMALL, 6.0, 40, started=True))
    assert ahead(*running, offered=(Image(3, SMALL, 1.0, 1),)).starts[3] == pytest.approx(0.6)


def test_a_pair_encodes_two_prompts_and_has_two_rows_of_a_step() -> None:
    result = ahead(offered=(Image(1, SMALL, 9.0, 4, rows=2),))
    assert result.ends[1] == pytest.approx(2 * 0.05 + 4 * 0.6 + 0.2)


def test_a_pair_where_one_row_fits_takes_two_forwards() -> None:
    running = Image(1, SMALL, 5.0, 3, started=True, rows=2)
    result = ahead(running, offered=(Image(2, SMALL, 9.0, 1),), rows=1, elapsed=0.3)
    assert result.ends[1] == pytest.approx(2 * 0.5 - 0.3 + 2 * 2 * 0.5 + 0.2)
    assert result.starts[2] == result.ends[1]


def test_a_single_that_fits_beside_others_starts_before_a_pair_that_does_not() -> None:
    running = Image(1, SMALL, 5.0, 2, started=True)
    result = ahead(running, offered=(Image(2, SMALL, 6.0, 1, rows=2), Image(3, SMALL, 9.0, 1)))
    assert result.starts[3] == pytest.approx(0.5)
    assert result.starts[2] == pytest.approx(0.5 + 0.05 + 0.6 + 2 * 0.2)


def test_a_reproducible_image_shares_no_step() -> None:
    running = Image(1, SMALL, 5.0, 2, started=True)
    result = ahead(running, offered=(Image(2, SMALL, 6.0, 3, reproducible=True), Image(3, SMALL, 9.0, 1)))
    assert result.starts[3] == pytest.approx(0.5), "beside the one that runs"
    assert result.starts[2] == pytest.approx(result.ends[3])
    assert result.ends[2] == pytest.approx(result.starts[2] + 0.05 + 3 * 0.5 + 0.2)


images = st.lists(
    st.builds(
        Image,
        number=st.just(0),
        bucket=st.sampled_from([SMALL, WIDE, TALL]),
        deadline=st.floats(0, 50),
        steps_left=st.integers(1, 6),
        started=st.booleans(),
        rows=st.sampled_from([1, 1, 2]),
        reproducible=st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)


def step_by_step(images: list[Image], costs: Calibration, rows: int) -> Forecast:
    """The same, the slow way."""
    result, now = Forecast({}, {}), 0.0
    rest = sorted(images, key=order)
    while chosen := choose(rest, lambda _: rows):
        for image in chosen:
            if not image.started:
                result.starts[image.number], image.started = now, True
                now += image.rows * costs.prompt_seconds(image.bucket)
        forwards = Forwards.of(chosen, rows)
        now += forwards.number * costs.step_seconds(chosen[0].bucket, forwards.rows)
        for image in chosen:
            image.steps_left -= 1
            if image.steps_left == 0:
                now += costs.image_seconds(image.bucket)
                result.ends[image.number] = now
                rest.remove(image)
    return result


@given(images, st.integers(1, 4))
def test_jumping_from_end_to_end_says_what_going_step_by_step_says(waiting: list[Image], rows: int) -> None:
    for number, image in enumerate(waiting):
        image.number = number
    quick = forecast([], waiting, COSTS, lambda _: rows, 0.0)
    slow = step_by_step(waiting, COSTS, rows)
    assert quick.starts == pytest.approx(slow.starts)
    assert quick.ends == pytest.approx(slow.ends)


def test_a_forecast_leaves_the_images_as_they_are() -> None:
    image = Image(1, Bucket(4, 4, 64), 5.0, 3)
    ahead(image, offered=(other := Image(2, SMALL, 9.0, 2),))
    assert (image.steps_left, image.started, other.steps_left, other.started) == (3, False, 2, False)
