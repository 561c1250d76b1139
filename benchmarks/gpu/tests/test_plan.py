"""Every cell once, in an order that gives the aims first and changes the model seldom."""

from itertools import pairwise
from typing import Any

import pytest

from benchmarks.gpu.aims import aims
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.ceiling import Ceiling
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.host_copy import HostCopy
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.plan import ATTENTION, COMPILED_ATTENTION, ROWS, plan
from benchmarks.gpu.scale import FULL
from benchmarks.gpu.suite import Outcome, Status

CELLS = plan(FULL)
STEPS = [cell for cell in CELLS if isinstance(cell, Step)]
GRIDS: tuple[tuple[Precision, Launch], ...] = (
    ("bf16", "eager"),
    ("bf16", "compiled"),
    ("bf16", "graphs"),
    ("fp8", "compiled"),
    ("nf4", "eager"),
)
FIGURES: dict[str, Any] = dict.fromkeys(
    (
        "median_seconds",
        "mean_seconds",
        "images_per_second",
        "times_the_floor",
        "tflop",
        "pageable_over_pinned",
        "throughput_ratio",
        "mean_latency_ratio",
        "worst_error_to_stock",
        "error_to_fp32",
    ),
    1.0,
)
"""All that aims are computed from."""


def test_every_cell_has_a_name_of_its_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_every_form_of_the_grid_is_measured_at_every_size_with_every_number_of_rows() -> None:
    for precision, launch in GRIDS:
        found = {
            (step.side, step.rows)
            for step in STEPS
            if (step.model, step.precision, step.launch) == ("dev", precision, launch)
        }
        assert found >= {(side, rows) for side in (512, 768, 1024) for rows in ROWS}, (precision, launch)


def outcome(cell: Any) -> Outcome:
    """Of a cell that was measured."""
    where = {"width": cell.side, "rows": getattr(cell, "rows", 1)} if isinstance(cell, Step | Decode) else {}
    return Outcome(cell.name, Status.MEASURED, figures={"kind": cell.KIND} | FIGURES | where)


def test_where_all_that_is_planned_was_measured_no_figure_is_without_a_value() -> None:
    # The aims name cells by what they are: one that is not planned would never be met.
    found = aims(FULL, "GPU", [outcome(cell) for cell in CELLS])
    assert [aim.name for aim in found if aim.value is None] == []
    assert sum(aim.met is not None for aim in found) == 6


@pytest.mark.parametrize(
    "cells",
    [
        [Ceiling("bf16"), Ceiling("fp8")],
        [Step("dev", 1024, 1, "bf16", "eager", attention) for attention in ATTENTION],
        [Step("dev", 1024, 1, "bf16", "compiled", attention) for attention in COMPILED_ATTENTION],
        [Decode(side) for side in FULL.sides],
        [HostCopy(1024)],
        [MixedSteps("bf16", "eager"), MixedSteps("bf16", "compiled")],
        [Agreement(*form) for form in GRIDS],
        [Step("schnell", 1024, rows, "bf16", "compiled") for rows in ROWS],
        [Step("schnell", 1024, rows, "fp8", "compiled") for rows in ROWS],
        [WholeImage("dev", 1024, precision, "compiled") for precision in ("bf16", "fp8")],
        [WholeImage("schnell", 1024, "bf16", "compiled")],
    ],
    ids=lambda cells: f"{cells[0].name} and so on",
)
def test_what_a_result_must_have_is_planned(cells: list[Any]) -> None:
    assert [cell.name for cell in cells if cell not in CELLS] == []


def test_attention_is_compared_before_any_step_that_takes_the_fastest() -> None:
    for launch, backends in (("eager", ATTENTION), ("compiled", COMPILED_ATTENTION)):
        of_launch = [step.attention for step in STEPS if step.launch == launch and step.precision == "bf16"]
        assert of_launch[: len(backends)] == list(backends)
        assert set(of_launch[len(backends) :]) == {None}


def test_the_model_is_changed_seldom() -> None:
    forms = [(step.model, step.precision, step.launch, step.attention) for step in STEPS]
    changes = sum(1 for one, other in pairwise(forms) if one != other)
    assert changes <= 22


def test_whole_images_come_before_the_grids_of_their_forms_are_through() -> None:
    names = [cell.name for cell in CELLS]
    last_grid = names.index("dev step, 512x512, rows 2, fp8 compiled")
    for image in ("dev image, 1024x1024, 28 steps, bf16 compiled", "dev image, 1024x1024, 28 steps, fp8 compiled"):
        assert names.index(image) < last_grid
