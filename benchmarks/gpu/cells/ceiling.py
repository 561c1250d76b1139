"""The device's own rate: one large matrix product, the most any step can come near."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from benchmarks.gpu.bench import Bench, Figures
from benchmarks.gpu.forms import FP8_CAPABILITY, Unavailable
from benchmarks.gpu.hardware import Hardware

_FP8_LARGEST = 448.0
"""Of e4m3."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Products of random square matrices, in bf16 or in fp8 with a scale per row."""

    precision: Literal["bf16", "fp8"]

    KIND: ClassVar[str] = "matrix product"

    @property
    def name(self) -> str:
        """See Cell."""
        return f"matrix product, {self.precision}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell."""
        side = bench.scale.matmul_side
        work = (_bf16 if self.precision == "bf16" else _fp8)(side, bench.hardware)
        times = bench.hardware.time(work)
        return {
            "side": side,
            "seconds": times.seconds,
            "median_seconds": times.median,
            "tflop_per_second": 2 * side**3 / 1e12 / times.median,
        }


def _bf16(side: int, hardware: Hardware) -> Callable[[], torch.Tensor]:
    left, right = (torch.randn(side, side, device=hardware.device, dtype=torch.bfloat16) for _ in range(2))
    return lambda: left @ right


def _fp8(side: int, hardware: Hardware) -> Callable[[], torch.Tensor]:
    if hardware.capability < FP8_CAPABILITY:
        raise Unavailable("fp8 products need a newer device")
    (left, left_scale), (right, right_scale) = (_rows_in_fp8(side, hardware) for _ in range(2))
    return lambda: torch._scaled_mm(  # noqa: SLF001 - torch has no public name for it
        left, right.t(), left_scale, right_scale.t(), out_dtype=torch.bfloat16, use_fast_accum=True
    )


def _rows_in_fp8(side: int, hardware: Hardware) -> tuple[torch.Tensor, torch.Tensor]:
    """A random matrix in e4m3, and the scale of each row: (side, 1), float32."""
    wide = torch.randn(side, side, device=hardware.device)
    scale = wide.abs().amax(dim=1, keepdim=True) / _FP8_LARGEST
    return (wide / scale).to(torch.float8_e4m3fn), scale
