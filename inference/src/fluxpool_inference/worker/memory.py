"""Measures what steps, decoding and text encoding take of the device's memory, as torch's allocator counts it.

On a CPU there is no such count: `gauge` gives none, and nothing is limited by it.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import torch

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.scheduling.costs import WARM_ROWS
from fluxpool_inference.scheduling.memory import Memory, PeakLine, Space
from fluxpool_inference.worker.trial import Trial
from fluxpool_inference.worker.warm_up import WarmUp

logger = logging.getLogger(__name__)


class Gauge(Protocol):
    """Measures a device's memory."""

    def peak(self, work: Callable[[], object]) -> int:
        """The most bytes that `work` has at a time beyond those that were there before."""

    def space(self) -> Space:
        """What the device has, with what the allocator merely keeps counted as free."""


class Facts(Protocol):
    """What a model says of its memory by itself: see `Memory` for both."""

    @property
    def modulation_bytes(self) -> int: ...  # noqa: D102
    @property
    def tile_pixels(self) -> int | None: ...  # noqa: D102


class CudaGauge:
    """A GPU's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def peak(self, work: Callable[[], object]) -> int:
        """See `Gauge`."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before

    def space(self) -> Space:
        """See `Gauge`. The driver says what is free: the allocator keeps what captured graphs need, used or not."""
        torch.cuda.empty_cache()
        return Space(*torch.cuda.mem_get_info(self._device))


def gauge(device: torch.device) -> Gauge | None:
    """The gauge of a device; None where its memory is not counted."""
    return CudaGauge(device) if device.type == "cuda" else None


def measure(trial: Trial, config: EngineConfig, gauge: Gauge, warm: WarmUp, facts: Facts) -> Memory:
    """What the work of one worker takes; its room is not known before the end of warm-up.

    Args:
        trial: Of a model of which everything has run, so that nothing is done for the first time here.
        config: Says the most rows of a step.
        gauge: Of the device.
        warm: Says how many rows memory held, and how many prompts share a forward.
        facts: Of the trial's model.
    """
    bucket, image = trial.bucket, trial.image()
    most = warm.most_rows(config.batch_size_max)
    steps = [(rows * bucket.tokens, gauge.peak(trial.step(rows))) for rows in WARM_ROWS if rows <= most]
    return Memory(
        reference=bucket,
        step=PeakLine.over(steps),
        encode_bytes=gauge.peak(trial.encoding(max(warm.prompts_together))),
        decode_bytes=gauge.peak(trial.decoding()),
        latent_bytes=image.latent_bytes / bucket.image_tokens,
        text_bytes=image.conditioning.size_bytes / bucket.text_tokens,
        row_bytes=facts.modulation_bytes,
        tile_pixels=facts.tile_pixels,
    )


def tell(memory: Memory, max_pixels: int) -> None:
    """Say what fits, in one line; in another if that is less than `max_pixels`, which are then refused."""
    bucket = memory.reference
    largest = memory.largest_pixels(bucket.text_tokens)
    megabytes = {
        "free": memory.room_bytes,
        "step": memory.step_bytes(bucket, 1),
        "decode": memory.decode_bytes,
        "encode": memory.encode_bytes,
    }
    fields = {f"{name}_megabytes": round(size / 1e6) for name, size in megabytes.items()}
    logger.info("memory", extra={"fields": {**fields, "rows": memory.rows(bucket), "largest_pixels": largest}})
    if largest < max_pixels:
        logger.warning("memory holds images of up to %d pixels, and max_pixels is %d", largest, max_pixels)
