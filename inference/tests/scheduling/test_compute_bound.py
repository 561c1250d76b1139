"""FLUX.1 at 1024 x 1024, as a large GPU runs it: a row alone fills the device, so one more row gains nothing.

Steps cost 0.002 s and 0.2 s per row; an image of 28 steps takes 5.7 s alone, encoding and decoding included. Batching
gains nothing there: a pod is a queue with one server, and that is what its admission must amount to.
"""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling_values import FLUX, Image

from fluxpool_inference.contract import WAIT_RESERVE
from fluxpool_inference.engine.sizes import Sizes
from fluxpool_inference.outcomes import RejectReason
from fluxpool_inference.scheduling.admission import (
    AdmissionPolicy,
    Offer,
    Refusal,
    drain_problem,
    refusal,
    retry_after_seconds,
)
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import WARM_ROWS, Calibration, OnlineCosts, StepCurve, longest_request_seconds
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.scheduling.forecast import Forecast, forecast
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import Priority

STEPS = 28
SQUARE = Bucket.of_size(1024, 1024, 512)
COSTS = Calibration(FLUX, SQUARE, StepCurve(0.002, 0.2), encode_seconds=0.02, decode_seconds=0.06)
SOLO = COSTS.work_seconds(SQUARE, STEPS)
POLICY = AdmissionPolicy(max_queue_seconds=30, max_waiting=1000, drain_seconds=300)


@dataclass
class Door:
    """A pod that everyone comes to at once: images are admitted one by one, and none has run yet."""

    batch_size: int = 8
    steps: int = STEPS
    bucket: Bucket = SQUARE
    admitted: list[Image] = field(default_factory=list)

    def offer(self) -> tuple[float, Refusal | None]:
        """The estimated wait of one more image, and why it is refused."""
        number = len(self.admitted)
        image = Image(number, self.bucket, deadline(0.0, SOLO, Priority.NORMAL), self.steps)
        ahead = self.forecast(image)
        refused = refusal(POLICY, Offer([number], number, None, ahead))
        if refused is None:
            self.admitted.append(image)
        return ahead.starts[number], refused

    def forecast(self, *offered: Image) -> Forecast:
        return forecast(self.admitted, offered, OnlineCosts(COSTS), RowLimits(COSTS, self.batch_size), 0.0)

    def fill(self) -> tuple[list[float], Refusal]:
        """The waits of all that get in, and the first refusal."""
        waits = []
        while True:
            wait, refused = self.offer()
            if refused is not None:
                return waits, refused
            waits.append(wait)


def test_a_row_alone_is_the_knee_so_a_step_has_one_whatever_the_batch_size() -> None:
    assert COSTS.curve(SQUARE).knee() == 1
    assert [RowLimits(COSTS, batch_size)(SQUARE) for batch_size in (1, 8, 32)] == [1, 1, 1]


@given(st.lists(st.floats(0.99, 1.01), min_size=4, max_size=4))
def test_steps_measured_within_one_percent_have_the_same_knee(noise: list[float]) -> None:
    measured = [(rows, factor * (0.002 + 0.2 * rows)) for rows, factor in zip(WARM_ROWS, noise, strict=True)]
    assert StepCurve.fit(measured).knee() == 1


@pytest.mark.parametrize("batch_size", [1, 8, 32])
def test_a_pod_admits_what_it_can_begin_within_the_longest_wait(batch_size: int) -> None:
    waits, _ = Door(batch_size).fill()
    assert len(waits) == math.floor(30 / WAIT_RESERVE / SOLO) + 1 == 5


def test_estimates_grow_by_the_time_of_one_image() -> None:
    door = Door()
    waits, _ = door.fill()
    assert waits == pytest.approx([place * SOLO for place in range(5)])
    assert door.forecast().drained == pytest.approx(5 * SOLO)


def test_the_first_refused_is_told_to_come_back_when_its_turn_would_have_come() -> None:
    _, refused = Door().fill()
    assert refused == Refusal(RejectReason.WAIT_TOO_LONG, pytest.approx(5 * SOLO))
    assert retry_after_seconds(refused.wait_seconds, 0.0) == pytest.approx(5 * SOLO)
    assert retry_after_seconds(refused.wait_seconds, 1.0) == pytest.approx(1.25 * 5 * SOLO)


def test_the_limits_of_a_pool_fit_its_drain() -> None:
    longest = longest_request_seconds(COSTS, max_pixels=2_097_152, max_steps=50, max_images=4, text_tokens=512)
    assert longest == pytest.approx(
        4 * 50 * 0.2 * FLUX.step_flop(Bucket(1, 8192, 512)) / FLUX.step_flop(SQUARE), rel=0.02
    )
    assert drain_problem(POLICY, longest) is None


def test_images_of_four_steps_get_in_by_their_time_and_not_by_their_number() -> None:
    waits, _ = Door(steps=4).fill()
    assert len(waits) == math.floor(30 / WAIT_RESERVE / COSTS.work_seconds(SQUARE, 4)) + 1 == 30


def test_the_curve_that_is_told_has_this_knee() -> None:
    (cost,) = Sizes(COSTS).measured
    assert (cost.fixed_seconds, cost.per_row_seconds) == pytest.approx((0.002, 0.2))
    assert StepCurve(cost.fixed_seconds, cost.per_row_seconds).knee() == 1
