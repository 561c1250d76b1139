"""The sizes that an engine has met, and which of them it measured."""

import pytest
from bench import NO_KNEE

from fluxpool_inference.engine import BucketCost
from fluxpool_inference.engine.sizes import MOST_PREDICTED, Sizes
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, StepCurve

TEXT_TOKENS = NO_KNEE.reference.text_tokens
COSTS = Calibration(NO_KNEE.shape, NO_KNEE.reference, StepCurve(0.01, 0.002), encode_seconds=0.1, decode_seconds=0.1)


def bucket(width: int, height: int = 64) -> Bucket:
    return Bucket.of_size(width, height, TEXT_TOKENS)


def widths(sizes: Sizes) -> list[int]:
    return [cost.width for cost in sizes.predicted]


def test_the_warmed_size_is_the_measured_one_and_never_a_predicted_one() -> None:
    sizes = Sizes(COSTS)
    assert sizes.measured == (BucketCost(64, 64, pytest.approx(0.01), pytest.approx(0.002)),)
    sizes.admitted(bucket(64))
    assert sizes.predicted == ()


def test_any_other_size_is_predicted_by_its_operations_and_told_once() -> None:
    sizes = Sizes(COSTS)
    for _ in range(3):
        sizes.admitted(bucket(128, 64))
    scale = COSTS.shape.step_flop(bucket(128, 64)) / COSTS.shape.step_flop(COSTS.reference)
    assert sizes.predicted == (BucketCost(128, 64, pytest.approx(0.01), pytest.approx(0.002 * scale)),)
    assert scale > 1


def test_only_the_last_sizes_are_remembered() -> None:
    sizes = Sizes(COSTS)
    for width in range(80, 80 + 16 * MOST_PREDICTED, 16):
        sizes.admitted(bucket(width))
    assert len(sizes.predicted) == MOST_PREDICTED
    sizes.admitted(bucket(80))  # known, and so none has to go
    assert (len(sizes.predicted), widths(sizes)[0], widths(sizes)[-1]) == (MOST_PREDICTED, 96, 80)
    sizes.admitted(bucket(2048))
    assert (len(sizes.predicted), widths(sizes)[0], widths(sizes)[-1]) == (MOST_PREDICTED, 112, 2048)
