"""The result: what follows from the cells, the aims, and the file. Pure but for reading and writing that file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.gpu.bench import Figures
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.flops import REFERENCE_TFLOP_PER_SECOND
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.hardware import TIMED, WARM_UP
from benchmarks.gpu.plan import ROWS
from benchmarks.gpu.scale import STEPS, Model, Scale
from benchmarks.gpu.suite import Outcome, Status
from benchmarks.record import Aim, Part, at_least, at_most, record, reported

RESULT = "gpu"


@dataclass(frozen=True, slots=True)
class Run:
    """What a result says of the run itself."""

    scale: Scale
    machine: str
    device: str
    command: str
    versions: Mapping[str, str]

    @property
    def part(self) -> str:
        """Each kind of device has a part of its own in the result file."""
        return self.device


def write(run: Run, outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Record what there is. Returns the file's path."""
    part = Part(
        name=run.part,
        command=run.command,
        versions=run.versions,
        aims=aims(run, outcomes),
        figures={
            "model": run.scale.name,
            "warm_up_steps": WARM_UP,
            "timed_steps": TIMED,
            "reference_tflop_per_second": REFERENCE_TFLOP_PER_SECOND,
            "cells": [asdict(outcome) for outcome in with_derived(outcomes)],
        },
        device=run.machine,
    )
    return record(RESULT, part, folder)


class OtherVersionsError(Exception):
    """The cells in the file were measured with other versions: one table must not mix them."""


def measured_before(run: Run, folder: Path) -> dict[str, Outcome]:
    """Cells that the file has of this device. Raises OtherVersionsError."""
    path = folder / f"{RESULT}.json"
    part = json.loads(path.read_text())["parts"].get(run.part) if path.exists() else None
    if part is None:
        return {}
    if part["versions"] != dict(run.versions):
        raise OtherVersionsError(f"{path} was measured with {part['versions']}, and here is {dict(run.versions)}")
    cells = [Outcome(**(cell | {"status": Status(cell["status"])})) for cell in part["figures"]["cells"]]
    return {cell.name: cell for cell in cells if cell.status is Status.MEASURED}


def with_derived(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, where each step also has what images of 28 and of 4 such steps take, decoding included."""
    decode = {one.figures["width"]: one.figures["median_seconds"] for one in outcomes if _is(Decode, one)}
    return [replace(one, figures=_derived(one.figures, decode)) if _is(Step, one) else one for one in outcomes]


def _is(kind: type[Step | Decode], outcome: Outcome) -> bool:
    return outcome.status is Status.MEASURED and outcome.figures["kind"] == kind.KIND


def _derived(step: Figures, decode_seconds: Mapping[int, float]) -> Figures:
    rows, decode = step["rows"], decode_seconds.get(step["width"])
    images = {}
    for steps in sorted(set(STEPS.values())):
        denoise = steps * step["median_seconds"]
        images[str(steps)] = {
            "denoise_seconds": denoise,
            "images_per_second": None if decode is None else rows / (denoise + rows * decode),
        }
    return step | {"derived_images_of_steps": images}


def aims(run: Run, outcomes: Sequence[Outcome]) -> list[Aim]:
    """The figures that count, each named with the device; what was not measured is not met."""
    found = {one.name: one.figures for one in with_derived(outcomes) if one.status is Status.MEASURED}
    wanted = [*_images(run.scale, found), *_throughput(run.scale, found), *_others(found)]
    return [replace(aim, name=f"{aim.name}, {run.device}") for aim in wanted]


Found = Mapping[str, Figures]
"""Figures of the measured cells by their names."""


def _images(scale: Scale, found: Found) -> list[Aim]:
    """Whole images, beside the time that their operations take at the reference rate."""
    result = []
    for model, precision, bound in _WHOLE_IMAGES:
        name = WholeImage(model, scale.large, precision, "compiled").name
        figures = found.get(name, {})
        seconds = _rounded(figures.get("median_seconds"))
        result.append(reported(f"{name}, s", seconds) if bound is None else at_most(f"{name}, s", bound, seconds))
        floor = f"{name}: time over that of its operations at {REFERENCE_TFLOP_PER_SECOND} TFLOP/s"
        result.append(reported(floor, _rounded(figures.get("times_the_floor"))))
    fp8 = WholeImage("dev", scale.large, "fp8", "compiled").name
    result.append(at_least(f"{fp8}, images/s", 0.33, _rounded(found.get(fp8, {}).get("images_per_second"))))
    return result


_WHOLE_IMAGES: tuple[tuple[Model, Precision, float | None], ...] = (
    ("dev", "bf16", 3.5),
    ("dev", "fp8", 3.0),
    ("schnell", "bf16", None),
)


def _throughput(scale: Scale, found: Found) -> list[Aim]:
    small = f"{scale.small}x{scale.small}"
    eager, batch = (found.get(step.name, {}) for step in _steps_of_small_images(scale))
    gain = 8 * eager["median_seconds"] / batch["median_seconds"] if eager and batch else None
    result = [at_least(f"images/s of dev steps, {small}: 8 rows compiled over one row eager", 1.6, _rounded(gain))]
    large = f"{scale.large}x{scale.large}"
    for precision, bound in _SCHNELL:
        steps = (found.get(Step("schnell", scale.large, rows, precision, "compiled").name) for rows in ROWS)
        rates = [step["derived_images_of_steps"]["4"]["images_per_second"] for step in steps if step]
        best = max((rate for rate in rates if rate is not None), default=None)
        name = f"schnell, {large}, 4 steps and decoding, {precision} compiled, at the best of 1 to 8 rows, images/s"
        result.append(at_least(name, bound, _rounded(best)))
    return result


_SCHNELL: tuple[tuple[Precision, float], ...] = (("bf16", 1.8), ("fp8", 2.2))


def _steps_of_small_images(scale: Scale) -> tuple[Step, Step]:
    return Step("dev", scale.small, 1, "bf16", "eager"), Step("dev", scale.small, 8, "bf16", "compiled")


def _others(found: Found) -> list[Aim]:
    """What has no aim: batches of mixed steps, and how far the forms are from float32."""
    result = []
    for name in (MixedSteps("bf16", launch).name for launch in _LAUNCHES):
        figures = found.get(name, {})
        for label, key in _MIXED.items():
            result.append(reported(f"{name}: {label}", _rounded(figures.get(key))))
    for name, figures in found.items():
        if figures["kind"] == Agreement.KIND:
            result.append(reported(f"{name}: relative error to fp32", _rounded(figures["error_to_fp32"])))
    return result


_LAUNCHES: tuple[Launch, ...] = ("eager", "compiled")
_MIXED = {
    "throughput over the stock pipeline's, one image at a time": "throughput_ratio",
    "mean latency over the stock pipeline's": "mean_latency_ratio",
    "worst relative error to the stock pipeline": "worst_error_to_stock",
}


def _rounded(value: float | None) -> float | None:
    """To three significant digits."""
    return None if value is None else float(f"{value:.3g}")
