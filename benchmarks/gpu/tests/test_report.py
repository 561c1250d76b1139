"""Aims follow from the cells alone, and a result file is whole after every cell."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import report
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.scale import FULL
from benchmarks.gpu.suite import Outcome, Status

RUN = report.Run(FULL, "GPU, 140 GiB", "GPU", "benchmarks/gpu/run", {"torch": "2"})


def measured(cell: Any, **figures: Any) -> Outcome:
    return Outcome(cell.name, Status.MEASURED, figures={"kind": cell.KIND} | figures)


def step(cell: Step, seconds: float) -> Outcome:
    return measured(cell, rows=cell.rows, width=cell.side, median_seconds=seconds, precision=cell.precision)


def image(model: Any, precision: Any, seconds: float) -> Outcome:
    cell = WholeImage(model, 1024, precision, "compiled")
    return measured(cell, median_seconds=seconds, images_per_second=1 / seconds, times_the_floor=1.5)


def value_of(outcomes: list[Outcome], words: str) -> tuple[float | None, bool | None]:
    (aim,) = [aim for aim in report.aims(RUN, outcomes) if words in aim.name]
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
        measured(Decode(1024), width=1024, median_seconds=0.1),
        step(Step("schnell", 1024, 1, "bf16", "compiled"), 0.1),  # 4 x 0.1 + 0.1: 2.0 per second
        step(Step("schnell", 1024, 8, "bf16", "compiled"), 0.7),  # 4 x 0.7 + 0.8 for 8: 2.22
    ]
    assert value_of(outcomes, "schnell, 1024x1024, 4 steps and decoding, bf16") == (2.22, True)
    assert value_of(outcomes, "schnell, 1024x1024, 4 steps and decoding, fp8") == (None, False)


def test_without_a_decoding_there_are_no_images_per_second() -> None:
    (outcome,) = report.with_derived([step(Step("dev", 512, 2, "bf16", "eager"), 0.5)])
    assert outcome.figures["derived_images_of_steps"] == {
        "4": {"denoise_seconds": 2.0, "images_per_second": None},
        "28": {"denoise_seconds": 14.0, "images_per_second": None},
    }


def test_what_failed_or_was_not_reached_does_not_meet_its_aim() -> None:
    failed = replace(image("dev", "bf16", 1.0), status=Status.FAILED, figures={})
    bounded = [aim for aim in report.aims(RUN, [failed]) if aim.aim != "reported"]
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


def test_a_result_names_the_device_and_has_every_cell(tmp_path: Path) -> None:
    path = report.write(RUN, [image("dev", "bf16", 3.4), Outcome("x", Status.NO_TIME)], tmp_path)
    found = json.loads(path.read_text())
    assert found["machine"].endswith("GPU, 140 GiB")
    assert found["command"] == "benchmarks/gpu/run"
    cells = found["parts"]["GPU"]["figures"]["cells"]
    assert [cell["status"] for cell in cells] == ["measured", "no time left"]
    assert all(aim["name"].endswith(", GPU") for aim in found["aims"])


def test_a_run_goes_on_from_what_the_file_has_of_this_device(tmp_path: Path) -> None:
    outcomes = [image("dev", "bf16", 3.4), Outcome("bad", Status.FAILED, reason="why"), Outcome("x", Status.NO_TIME)]
    report.write(RUN, outcomes, tmp_path)
    assert report.measured_before(RUN, tmp_path) == {outcomes[0].name: outcomes[0]}
    assert report.measured_before(replace(RUN, device="other"), tmp_path) == {}
    assert report.measured_before(RUN, tmp_path / "empty") == {}


def test_cells_of_other_versions_are_not_mixed_in(tmp_path: Path) -> None:
    report.write(RUN, [], tmp_path)
    with pytest.raises(report.OtherVersionsError, match=r"was measured with .*'torch': '2'"):
        report.measured_before(replace(RUN, versions={"torch": "3"}), tmp_path)
