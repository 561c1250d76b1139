"""Latents to pixels: the VAE, one image at a time, up to the bytes on the host."""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.gpu.bench import Bench, Figures


@dataclass(frozen=True, slots=True)
class Decode:
    """Decoding of one square image."""

    side: int

    KIND: ClassVar[str] = "decode"

    @property
    def name(self) -> str:
        """See Cell."""
        return f"decode, {self.side}x{self.side}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell."""
        subject = bench.subject("dev", bench.form("bf16", "eager"))
        bucket = bench.bucket("dev", self.side)
        image = bench.begin(subject, self.side, steps=1)
        bench.hardware.forget_peak()
        times = bench.hardware.time(lambda: subject.flux.decode(bucket, [image]))
        tflop = bench.flops.decode(self.side)
        return {
            "width": self.side,
            "height": self.side,
            "seconds": times.seconds,
            "median_seconds": times.median,
            "tflop": tflop,
            "tflop_per_second": tflop / times.median,
            "peak_memory_bytes": bench.hardware.peak_bytes(),
        }
