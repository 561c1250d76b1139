"""Which cells are measured, the most important first: a run that is cut off has what the aims need, then the rest.

Cells of one form stand together, since to change it means to make and compile a model anew.
"""

from typing import Final

from benchmarks.gpu.cells import Cell
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.ceiling import Ceiling
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.host_copy import HostCopy
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.scale import Scale

ROWS: Final = (1, 2, 4, 8)
ATTENTION: Final = ("native", "_native_cudnn", "_native_flash", "_native_efficient", "flash", "_flash_3")
"""Backends that compute what stock does; of what is not installed the result says so."""
COMPILED_ATTENTION: Final = ("native", "_native_cudnn", "_flash_3")


def plan(scale: Scale) -> tuple[Cell, ...]:
    """All cells, in order, each once."""
    cells: tuple[Cell, ...] = (
        Ceiling("bf16"),
        Ceiling("fp8"),
        *_eager(scale),
        *_compiled(scale),
        *_schnell(scale, "bf16"),
        WholeImage("schnell", scale.large, "bf16", "compiled"),
        *_fp8(scale),
        *_schnell(scale, "fp8"),
        *_grid(scale, "nf4", "eager"),
        Agreement("nf4", "eager"),
        *_grid(scale, "bf16", "graphs"),
        Agreement("bf16", "graphs"),
        *_grid(scale, "bf16", "eager"),
        Step("dev", scale.large, 1, "bf16", "static"),
        Step("dev", scale.large, 1, "fp8", "static"),
        Step("dev", scale.large, 1, "nf4", "compiled"),
    )
    return tuple(dict.fromkeys(cells))


def _eager(scale: Scale) -> tuple[Cell, ...]:
    """What everything else is compared to."""
    return (
        *(Step("dev", scale.large, 1, "bf16", "eager", attention) for attention in ATTENTION),
        Step("dev", scale.large, 1, "bf16", "eager"),
        Step("dev", scale.small, 1, "bf16", "eager"),
        *(Decode(side) for side in reversed(scale.sides)),
        HostCopy(scale.large),
        MixedSteps("bf16", "eager"),
        Agreement("bf16", "eager"),
    )


def _compiled(scale: Scale) -> tuple[Cell, ...]:
    return (
        *(Step("dev", scale.large, 1, "bf16", "compiled", attention) for attention in COMPILED_ATTENTION),
        Step("dev", scale.large, 1, "bf16", "compiled"),
        WholeImage("dev", scale.large, "bf16", "compiled"),
        Step("dev", scale.small, 8, "bf16", "compiled"),
        *_grid(scale, "bf16", "compiled"),
        MixedSteps("bf16", "compiled"),
        Agreement("bf16", "compiled"),
    )


def _fp8(scale: Scale) -> tuple[Cell, ...]:
    return (
        Step("dev", scale.large, 1, "fp8", "compiled"),
        WholeImage("dev", scale.large, "fp8", "compiled"),
        *_grid(scale, "fp8", "compiled"),
        Agreement("fp8", "compiled"),
    )


def _schnell(scale: Scale, precision: Precision) -> tuple[Cell, ...]:
    return tuple(Step("schnell", scale.large, rows, precision, "compiled") for rows in ROWS)


def _grid(scale: Scale, precision: Precision, launch: Launch) -> tuple[Cell, ...]:
    """Every size with every number of rows, the largest images first."""
    return tuple(Step("dev", side, rows, precision, launch) for side in reversed(scale.sides) for rows in ROWS)
