"""Aims follow from the cells alone; what was not measured is not met."""

from dataclasses import replace
from typing import Any

from benchmarks.gpu.aims import aims, with_derived
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.host_copy import HostCopy
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.scale import FULL
from benchmarks.gpu.suite import Outcome, Status


def measured(cell: Any, **figures: Any) -> Outcome:
    return Outcome(cell.name, Status.MEASURED, figures={"kind": cell.KIND} | figures)


def step(cell: Step, seconds: float) -> Outcome:
    own = 0.9 * seconds  # without the modulations, which one step in four computes
    return measured(
        cell, rows=cell.rows, width=cell.side, median_seconds=own, mean_seconds=seconds, tflop=70.0 * cell.rows
    )


def image(model: Any, precision: Any, seconds: float) -> Outcome:
    cell = WholeImage(model, 1024, precision, "compiled")
    return measured(cell, median_seconds=seconds, images_per_second=1 / seconds, times_the_floor=1.5)


def value_of(outcomes: list[Outcome], words: str) -> tuple[float | None, bool | None]:
    (aim,) = [aim for aim in aims(FULL, "GPU", outcomes) if words in aim.name]
    return aim.value, aim.met


def test_whole_images_are_held_to_the_seconds_of_the_best_published() -> None:
    outcomes = [image("dev", "bf16", 3.4), image("dev", "fp8", 3.1)]
    assert value_of(outcomes, "dev image, 1024x1024, 28 steps, bf16 compiled, s") == (3.4, True)
    assert value_of(outcomes, "dev image, 1024x1024, 28 steps, fp8 compiled, s") == (3.1, False)
    assert value_of(outcomes, "fp8 compiled, images/s, GPU") == (0.323, False)
    assert value_of(outcomes, "28 steps, bf16 compiled: time over that of its operations") == (1.5, None)


def test_the_gain_of_a_batch_is_images_per_second_over_images_per_second() -> None:
    eager, batch = Step("dev", 512, 1, "bf16", "eager"), Step("dev", 512, 8, "bf16", "compiled")
    outcomes = [step(eager, 0.040), step(batch, 0.160)]  # 25 and 50 steps of a row per second
    assert value_of(outcomes, "8 rows compiled over one row eager") == (2.0, True)


def test_images_per_second_of_schnell_have_the_decoding_in_and_are_those_of_the_best_rows() -> None:
    outcomes = [
        measured(Decode(1024), width=1024, median_seconds=0.1, tflop=10.0),
        step(Step("schnell", 1024, 1, "bf16", "compiled"), 0.1),  # 4 x 0.1 + 0.1: 2.0 per second
        step(Step("schnell", 1024, 8, "bf16", "compiled"), 0.7),  # 4 x 0.7 + 0.8 for 8: 2.22
    ]
    name = "schnell, 1024x1024, 4 steps and decoding, {} compiled, at the best of 1 to 8 rows{}"
    assert value_of(outcomes, name.format("bf16", ", images/s")) == (2.22, True)
    assert value_of(outcomes, name.format("fp8", ", images/s")) == (None, False)
    # An image is 4 x 70 + 10 TFLOP.
    assert value_of(outcomes, name.format("bf16", ": share of what 790 TFLOP/s allow")) == (0.816, None)
    assert value_of(outcomes, name.format("fp8", ": share of what 790 TFLOP/s allow")) == (None, None)


def test_without_a_decoding_there_are_no_images_per_second() -> None:
    (outcome,) = with_derived([step(Step("dev", 512, 2, "bf16", "eager"), 0.5)])
    assert outcome.figures["derived_images_of_steps"] == {
        "4": {"denoise_seconds": 2.0, "images_per_second": None},
        "28": {"denoise_seconds": 14.0, "images_per_second": None},
    }


def test_what_failed_or_was_not_reached_does_not_meet_its_aim() -> None:
    failed = replace(image("dev", "bf16", 1.0), status=Status.FAILED, figures={})
    bounded = [aim for aim in aims(FULL, "GPU", [failed]) if aim.aim != "reported"]
    assert len(bounded) == 6
    assert all(aim.value is None and aim.met is False for aim in bounded)


def test_agreement_and_mixed_steps_are_reported() -> None:
    outcomes = [
        measured(Agreement("fp8", "compiled"), error_to_fp32=0.0321),
        measured(MixedSteps("bf16", "eager"), throughput_ratio=1.5, mean_latency_ratio=0.7, worst_error_to_stock=1e-3),
    ]
    assert value_of(outcomes, "agreement") == (0.0321, None)
    assert value_of(outcomes, "mixed steps, bf16 eager: throughput") == (1.5, None)
    assert value_of(outcomes, "mixed steps, bf16 compiled: throughput") == (None, None)


def test_what_reuse_of_memory_buys_is_reported() -> None:
    outcomes = [
        step(Step("dev", 512, 1, "bf16", "compiled"), 0.030),
        step(Step("dev", 512, 1, "bf16", "graphs"), 0.025),
        step(Step("dev", 1024, 1, "bf16", "compiled"), 0.100),
        measured(HostCopy(1024), pageable_over_pinned=3.456),
    ]
    assert value_of(outcomes, "512x512, rows 1, bf16: compiled blocks launched over replayed") == (1.2, None)
    assert value_of(outcomes, "1024x1024, rows 1, bf16: compiled blocks launched over replayed") == (None, None)
    assert value_of(outcomes, "copy to the host, 1024x1024") == (3.46, None)
