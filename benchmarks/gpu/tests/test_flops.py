"""Operations are counted by torch; the engine's own formula leaves less than a hundredth out."""

import pytest

from benchmarks.gpu.flops import Flops
from benchmarks.gpu.scale import FULL, TINY
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape


def test_a_step_of_flux_takes_what_is_known_of_it() -> None:
    counted = Flops(FULL).step("dev", 1024)
    assert counted == pytest.approx(74.4, rel=0.002)
    formula = TransformerShape(inner_dim=3072, blocks=57).step_flop(Bucket.of_size(1024, 1024, 512)) / 1e12
    assert counted == pytest.approx(formula, rel=0.01)


def test_rows_cost_the_same_and_an_image_is_its_steps_and_its_decoding() -> None:
    flops = Flops(TINY)
    assert flops.step("dev", 64, rows=8) == 8 * flops.step("dev", 64)
    assert flops.image("dev", 64, 28) == 28 * flops.step("dev", 64) + flops.decode(64)
    assert flops.step("schnell", 64) < flops.step("dev", 64)  # fewer text tokens
