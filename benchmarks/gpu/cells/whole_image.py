"""One image from its noise to its pixels on the host, by the engine's denoiser alone on the device."""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.gpu.bench import Bench, Figures, Subject
from benchmarks.gpu.flops import REFERENCE_TFLOP_PER_SECOND
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.hardware import WARM_UP
from benchmarks.gpu.scale import STEPS, Model

_RUNS = 3


@dataclass(frozen=True, slots=True)
class WholeImage:
    """All steps that the model takes by default, and the decoding; text is encoded already."""

    model: Model
    side: int
    precision: Precision
    launch: Launch

    KIND: ClassVar[str] = "whole image"

    @property
    def name(self) -> str:
        """See Cell."""
        size = f"{self.side}x{self.side}"
        return f"{self.model} image, {size}, {STEPS[self.model]} steps, {self.precision} {self.launch}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell."""
        subject = bench.subject(self.model, bench.form(self.precision, self.launch))
        bench.hardware.forget_peak()
        steps = STEPS[self.model]
        self._make(bench, subject, steps=WARM_UP)
        times = bench.hardware.time(lambda: self._make(bench, subject, steps), warm_up=0, timed=_RUNS)
        tflop = bench.flops.image(self.model, self.side, steps)
        floor = tflop / REFERENCE_TFLOP_PER_SECOND
        return subject.describe() | {
            "width": self.side,
            "height": self.side,
            "text_tokens": bench.scale.text_tokens[self.model],
            "rows": 1,
            "steps": steps,
            "seconds": times.seconds,
            "median_seconds": times.median,
            "images_per_second": 1 / times.median,
            "tflop": tflop,
            "floor_seconds": floor,
            "times_the_floor": times.median / floor,
            "peak_memory_bytes": bench.hardware.peak_bytes(),
        }

    def _make(self, bench: Bench, subject: Subject, steps: int) -> None:
        bucket = bench.bucket(self.model, self.side)
        image = bench.begin(subject, self.side, steps=steps)
        for _ in range(steps):
            subject.flux.step(bucket, [image])
        subject.flux.decode(bucket, [image])
