"""A result file is whole after every cell, and a later run can go on from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu import report
from benchmarks.gpu.scale import FULL
from benchmarks.gpu.suite import Outcome, Status

RUN = report.Run(FULL, "GPU, 140 GiB", "GPU", "benchmarks/gpu/run", {"torch": "2"})
IMAGE = Outcome("image", Status.MEASURED, 12.0, figures={"kind": "whole image", "median_seconds": 3.4})
STEP = Outcome("step", Status.MEASURED, 2.0, figures={"kind": "step", "width": 512, "rows": 1, "mean_seconds": 0.5})


def test_a_result_names_the_device_and_has_every_cell(tmp_path: Path) -> None:
    path = report.write(RUN, [STEP, Outcome("x", Status.NO_TIME)], tmp_path)
    found = json.loads(path.read_text())
    assert found["machine"].endswith("GPU, 140 GiB")
    assert found["command"] == "benchmarks/gpu/run"
    cells = found["parts"]["GPU"]["figures"]["cells"]
    assert [cell["status"] for cell in cells] == ["measured", "no time left"]
    assert cells[0]["figures"]["derived_images_of_steps"]["28"]["denoise_seconds"] == 14
    assert all(aim["name"].endswith(", GPU") for aim in found["aims"])


def test_a_run_goes_on_from_what_the_file_has_of_this_device(tmp_path: Path) -> None:
    outcomes = [IMAGE, Outcome("bad", Status.FAILED, reason="why"), Outcome("x", Status.NO_TIME)]
    report.write(RUN, outcomes, tmp_path)
    assert report.measured_before(RUN, tmp_path) == {IMAGE.name: IMAGE}
    assert report.measured_before(replace(RUN, device="other"), tmp_path) == {}
    assert report.measured_before(RUN, tmp_path / "empty") == {}


def test_cells_of_other_versions_are_not_mixed_in(tmp_path: Path) -> None:
    report.write(RUN, [], tmp_path)
    with pytest.raises(report.OtherVersionsError, match=r"was measured with .*'torch': '2'"):
        report.measured_before(replace(RUN, versions={"torch": "3"}), tmp_path)
