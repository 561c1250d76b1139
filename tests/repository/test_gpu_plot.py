"""The picture of the GPU suite shows what its result has, however little that is."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

TOP = Path(__file__).parents[2]


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(TOP)
    yield importlib.import_module("benchmarks.gpu.plot")
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def step(launch: str, side: int, rows: int, seconds: float) -> dict[str, Any]:
    figures = {
        "kind": "step",
        "model": "dev",
        "precision": "bf16",
        "launch": launch,
        "compares_attention": False,
        "width": side,
        "rows": rows,
        "tflop_per_second": 500.0,
        "derived_images_of_steps": {"28": {"denoise_seconds": 28 * seconds}},
    }
    return {"name": f"{launch} {side} {rows}", "status": "measured", "figures": figures}


def result(folder: Path, cells: list[dict[str, Any]]) -> Path:
    figures = {"model": "FLUX.1", "reference_tflop_per_second": 790, "cells": cells}
    path = folder / "gpu.json"
    path.write_text(json.dumps({"parts": {"NVIDIA H200": {"device": "NVIDIA H200, 140 GiB", "figures": figures}}}))
    return path


@pytest.mark.parametrize("sides", [(512, 768, 1024), (512,), ()])
def test_there_is_a_panel_for_each_size_that_was_measured(plot: Any, tmp_path: Path, sides: tuple[int, ...]) -> None:
    cells = [
        step(launch, side, rows, 0.1 * rows) for launch in ("eager", "compiled") for side in sides for rows in (1, 8)
    ]
    cells.append({"name": "a decoding", "status": "failed", "figures": {}})
    (path,) = plot.draw(result(tmp_path, cells), tmp_path)
    assert path.name == "gpu-nvidia-h200.png"
    assert Image.open(path).width == 480 * (len(sides) + 1)


def test_the_picture_is_drawn_afterwards_by_one_command(tmp_path: Path) -> None:
    path = result(tmp_path, [step("eager", 512, 1, 0.1)])
    command = [sys.executable, "-m", "benchmarks.gpu.plot", str(path)]
    drawn = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True, timeout=120)
    assert drawn.stdout == f"{tmp_path / 'gpu-nvidia-h200.png'}\n"
    assert (tmp_path / "gpu-nvidia-h200.png").exists()
