"""The device: its name, its memory, and how long work on it takes."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

WARM_UP = 3
TIMED = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Of one piece of work, repeated.

    Attributes:
        first_seconds: Of the first run, which compiles where anything is compiled.
        seconds: Of each timed run.
    """

    first_seconds: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the timed runs, in seconds."""
        return statistics.median(self.seconds)


class Hardware:
    """One device of torch. Memory is that of torch's allocator, None on CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def is_gpu(self) -> bool:
        """Whether it is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def name(self) -> str:
        """As the driver says it."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else "CPU"

    @property
    def description(self) -> str:
        """Name and memory."""
        if not self.is_gpu:
            return self.name
        return f"{self.name}, {torch.cuda.get_device_properties(self.device).total_memory / 2**30:.0f} GiB"

    @property
    def capability(self) -> tuple[int, int]:
        """CUDA's compute capability; (0, 0) on CPU."""
        return torch.cuda.get_device_capability(self.device) if self.is_gpu else (0, 0)

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def forget_peak(self) -> int | None:
        """Let the peak of memory begin anew. Returns the bytes that tensors have now."""
        if not self.is_gpu:
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def peak_bytes(self) -> int | None:
        """The most memory that tensors had since `forget_peak`."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_gpu else None

    def free(self) -> None:
        """Give back what no tensor uses any more."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()

    def time(self, work: Callable[[], object], *, warm_up: int = WARM_UP, timed: int = TIMED) -> Times:
        """Run `work` warm_up + timed times, each until the device is done."""
        seconds = [self._once(work) for _ in range(warm_up + timed)]
        return Times(seconds[0], tuple(seconds[warm_up:]))

    def _once(self, work: Callable[[], object]) -> float:
        self.synchronize()
        began = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - began
