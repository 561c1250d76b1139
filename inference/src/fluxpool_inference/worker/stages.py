"""Where the time of a start goes."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fluxpool_inference.contract import START_STAGES

logger = logging.getLogger(__name__)


class Stages:
    """Seconds of each stage of `contract.START_STAGES`, 0 if there was none of it; told as they pass.

    `total_bytes`, once known, is what is to be loaded in all: each `loaded` part is then told with its percentage.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds = dict.fromkeys(START_STAGES, 0.0)
        self.total_bytes = 0
        self._loaded_bytes = 0
        self._now = now

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count what is done meanwhile to a stage."""
        began = self._now()
        yield
        self.seconds[stage] += self._now() - began
        logger.info("start", extra={"fields": {"stage": stage, "seconds": round(self.seconds[stage], 3)}})

    def loaded(self, part: str, size_bytes: int) -> None:
        """One more part is on the device."""
        self._loaded_bytes += size_bytes
        percent = 100 * self._loaded_bytes // max(1, self.total_bytes)
        logger.info("loading", extra={"fields": {"part": part, "megabytes": size_bytes // 10**6, "percent": percent}})
