"""Every cell once, in an order that gives the aims first and changes the model seldom."""

from itertools import pairwise

from benchmarks.gpu.aims import aims
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.plan import ROWS, plan
from benchmarks.gpu.scale import FULL

CELLS = plan(FULL)
STEPS = [cell for cell in CELLS if isinstance(cell, Step)]


def test_every_cell_has_a_name_of_its_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_every_form_of_the_grid_is_measured_at_every_size_with_every_number_of_rows() -> None:
    for precision, launch in (
        ("bf16", "eager"),
        ("bf16", "compiled"),
        ("bf16", "graphs"),
        ("fp8", "compiled"),
        ("nf4", "eager"),
    ):
        found = {
            (step.side, step.rows)
            for step in STEPS
            if (step.model, step.precision, step.launch) == ("dev", precision, launch)
        }
        assert found >= {(side, rows) for side in (512, 768, 1024) for rows in ROWS}, (precision, launch)


def test_what_an_aim_is_computed_from_is_in_the_plan() -> None:
    # The aims name cells by what they are: one that is not planned would never be met.
    names = {cell.name for cell in CELLS}
    of_images = [aim.name for aim in aims(FULL, "GPU", []) if "image, " in aim.name]
    assert len(of_images) == 7
    for name in of_images:
        assert any(name.startswith(cell) for cell in names), name


def test_the_model_is_changed_seldom() -> None:
    forms = [(step.model, step.precision, step.launch, step.attention) for step in STEPS]
    changes = sum(1 for one, other in pairwise(forms) if one != other)
    assert changes <= 22


def test_whole_images_come_before_the_grids_of_their_forms_are_through() -> None:
    names = [cell.name for cell in CELLS]
    last_grid = names.index("dev step, 512x512, rows 2, fp8 compiled")
    for image in ("dev image, 1024x1024, 28 steps, bf16 compiled", "dev image, 1024x1024, 28 steps, fp8 compiled"):
        assert names.index(image) < last_grid
