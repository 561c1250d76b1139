"""One denoising step over rows of one size, as the engine runs it."""

import statistics
from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmarks.gpu.bench import Bench, Figures
from benchmarks.gpu.flops import REFERENCE_TFLOP_PER_SECOND
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.hardware import TIMED, WARM_UP
from benchmarks.gpu.scale import Model
from fluxpool_inference.worker.flux import NonFiniteError
from fluxpool_inference.worker.modulation import STEPS_AHEAD

_STEPS = WARM_UP + TIMED
"""Of the schedule that is walked along; a step takes as long in any, but for the first of STEPS_AHEAD."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step. `attention` names a backend; None takes the fastest that was found.

    One in STEPS_AHEAD steps computes modulations for all of them. The median is that of a step that does not; the mean
    is over as many consecutive steps, and so what a step takes in an image.
    """

    model: Model
    side: int
    rows: int
    precision: Precision
    launch: Launch
    attention: str | None = None

    KIND: ClassVar[str] = "step"

    @property
    def name(self) -> str:
        """See Cell."""
        what = f"{self.model} step, {self.side}x{self.side}, rows {self.rows}, {self.precision} {self.launch}"
        return what if self.attention is None else f"{what}, attention {self.attention}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell. Raises NonFiniteError: the time of a computation that went wrong counts for nothing."""
        subject = bench.subject(self.model, bench.form(self.precision, self.launch, self.attention))
        resident_bytes = bench.hardware.forget_peak()
        bucket = bench.bucket(self.model, self.side)
        images = [bench.begin(subject, self.side, steps=_STEPS, seed=seed) for seed in range(self.rows)]
        times = bench.hardware.time(lambda: subject.flux.step(bucket, images))
        if not all(torch.isfinite(image.latents).all() for image in images):
            raise NonFiniteError("latents are not finite")
        tflop = bench.flops.step(self.model, self.side, self.rows)
        rate = tflop / times.median
        return subject.describe() | {
            "width": self.side,
            "height": self.side,
            "text_tokens": bucket.text_tokens,
            "rows": self.rows,
            "compares_attention": self.attention is not None,
            "first_seconds": times.first_seconds,
            "seconds": times.seconds,
            "median_seconds": times.median,
            "mean_seconds": statistics.mean(times.seconds[-STEPS_AHEAD:]),
            "tflop": tflop,
            "tflop_per_second": rate,
            "share_of_reference_rate": rate / REFERENCE_TFLOP_PER_SECOND,
            "resident_bytes": resident_bytes,
            "peak_memory_bytes": bench.hardware.peak_bytes(),
        }
