"""What pinned memory that is used again buys: the bytes of one image from the device to the host."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

import torch

from benchmarks.gpu.bench import Bench, Figures
from benchmarks.gpu.forms import Unavailable
from benchmarks.gpu.hardware import WARM_UP, Hardware
from fluxpool_inference.worker.device import to_host

_TIMED: Final = 20


@dataclass(frozen=True, slots=True)
class HostCopy:
    """Copies of the colours of one square image, by turns: into pageable memory, and, as the engine, into pinned."""

    side: int

    KIND: ClassVar[str] = "host copy"

    @property
    def name(self) -> str:
        """See Cell."""
        return f"copy to the host, {self.side}x{self.side}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell."""
        hardware = bench.hardware
        require_pinned(hardware)
        pixels = torch.randint(0, 256, (self.side, self.side, 3), device=hardware.device).to(torch.uint8)
        copies = ways(pixels)
        seconds: dict[str, list[float]] = {way: [] for way in copies}
        for _ in range(WARM_UP + _TIMED):
            for way, copy in copies.items():
                seconds[way] += hardware.time(copy, warm_up=0, timed=1).seconds
        medians = {way: statistics.median(found[WARM_UP:]) for way, found in seconds.items()}
        return {
            "width": self.side,
            "height": self.side,
            "bytes": pixels.nbytes,
            **{f"{way}_seconds": found[WARM_UP:] for way, found in seconds.items()},
            **{f"{way}_median_seconds": median for way, median in medians.items()},
            "pageable_over_pinned": medians["pageable"] / medians["pinned"],
        }


def ways(pixels: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """Each way to the host."""
    return {"pageable": pixels.cpu, "pinned": partial(to_host, pixels)}


def require_pinned(hardware: Hardware) -> None:
    """Raises Unavailable where no device reaches memory of the host by itself."""
    if not hardware.is_gpu:
        raise Unavailable("pinned memory needs a CUDA device")
