"""What follows from the cells: times of whole images, and the figures that count. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.gpu.bench import Figures
from benchmarks.gpu.cells.agreement import Agreement
from benchmarks.gpu.cells.decode import Decode
from benchmarks.gpu.cells.host_copy import HostCopy
from benchmarks.gpu.cells.mixed_steps import MixedSteps
from benchmarks.gpu.cells.step import Step
from benchmarks.gpu.cells.whole_image import WholeImage
from benchmarks.gpu.flops import REFERENCE_TFLOP_PER_SECOND
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.plan import ROWS
from benchmarks.gpu.scale import STEPS, Model, Scale
from benchmarks.gpu.suite import Outcome, Status
from benchmarks.record import Aim, at_least, at_most, reported


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
        denoise = steps * step["mean_seconds"]
        images[str(steps)] = {
            "denoise_seconds": denoise,
            "images_per_second": None if decode is None else rows / (denoise + rows * decode),
        }
    return step | {"derived_images_of_steps": images}


def aims(scale: Scale, device: str, outcomes: Sequence[Outcome]) -> list[Aim]:
    """The figures that count, each named with the device; what was not measured is not met."""
    found = {one.name: one.figures for one in with_derived(outcomes) if one.status is Status.MEASURED}
    wanted = [*_images(scale, found), *_throughput(scale, found), *_reuse(scale, found), *_others(found)]
    return [replace(aim, name=f"{aim.name}, {device}") for aim in wanted]


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
    eager = found.get(Step("dev", scale.small, 1, "bf16", "eager").name)
    batch = found.get(Step("dev", scale.small, 8, "bf16", "compiled").name)
    gain = 8 * eager["mean_seconds"] / batch["mean_seconds"] if eager and batch else None
    small = f"{scale.small}x{scale.small}"
    return [
        at_least(f"images/s of dev steps, {small}: 8 rows compiled over one row eager", 1.6, _rounded(gain)),
        *_schnell(scale, found, "bf16", 1.8),
        *_schnell(scale, found, "fp8", 2.2),
    ]


def _schnell(scale: Scale, found: Found, precision: Precision, bound: float) -> list[Aim]:
    """Images per second with as many rows as are best, and their share of what the reference rate allows."""
    cells = (found.get(Step("schnell", scale.large, rows, precision, "compiled").name) for rows in ROWS)
    decode = found.get(Decode(scale.large).name)
    rate = allowed = None
    if decode and (steps := [step for step in cells if step]):
        count = STEPS["schnell"]
        rate = max(step["derived_images_of_steps"][str(count)]["images_per_second"] for step in steps)
        tflop = count * steps[0]["tflop"] / steps[0]["rows"] + decode["tflop"]
        allowed = rate * tflop / REFERENCE_TFLOP_PER_SECOND
    size = f"{scale.large}x{scale.large}"
    name = f"schnell, {size}, 4 steps and decoding, {precision} compiled, at the best of 1 to 8 rows"
    return [
        at_least(f"{name}, images/s", bound, _rounded(rate)),
        reported(f"{name}: share of what {REFERENCE_TFLOP_PER_SECOND} TFLOP/s allow", _rounded(allowed)),
    ]


def _reuse(scale: Scale, found: Found) -> list[Aim]:
    """What it buys to use the same memory again: that of a step's inputs by CUDA graphs, and that of pinned memory."""
    result = []
    for side in (scale.small, scale.large):
        launched, replayed = (found.get(Step("dev", side, 1, "bf16", launch).name) for launch in _LAUNCHED_REPLAYED)
        gain = launched["median_seconds"] / replayed["median_seconds"] if launched and replayed else None
        name = f"dev step, {side}x{side}, rows 1, bf16: compiled blocks launched over replayed as CUDA graphs, time"
        result.append(reported(name, _rounded(gain)))
    name = HostCopy(scale.large).name
    gain = found.get(name, {}).get("pageable_over_pinned")
    return [*result, reported(f"{name}: pageable over pinned memory, time", _rounded(gain))]


_LAUNCHED_REPLAYED: tuple[Launch, ...] = ("compiled", "graphs")


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
