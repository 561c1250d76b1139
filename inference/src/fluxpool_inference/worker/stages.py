"""Where the time of a start goes."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fluxpool_inference.contract import START_STAGES

TOLD_PERCENT = 5
"""Between two words of the progress of loading, but for those of whole parts."""

logger = logging.getLogger(__name__)


class Stages:
    """Seconds of each stage of `contract.START_STAGES`, 0 if there was none of it; told as they pass.

    `total_bytes`, once known, is what is to be loaded in all, of which percentages are told.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds = dict.fromkeys(START_STAGES, 0.0)
        self.total_bytes = 0
        self._loaded_bytes = 0
        self._told_percent = 0
        self._now = now

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count what is done meanwhile to a stage."""
        began = self._now()
        yield
        self.seconds[stage] += self._now() - began
        logger.info("start", extra={"fields": {"stage": stage, "seconds": round(self.seconds[stage], 3)}})

    def loading(self, part: str, size_bytes: int) -> None:
        """So many bytes of the next part are on the device; told now and then."""
        percent = self._percent(size_bytes)
        if percent >= self._told_percent + TOLD_PERCENT:
            self._tell(part, size_bytes, percent)

    def loaded(self, part: str, size_bytes: int) -> None:
        """One more part is on the device, of so many bytes."""
        self._tell(part, size_bytes, self._percent(size_bytes))
        self._loaded_bytes += size_bytes

    def _percent(self, more_bytes: int) -> int:
        return 100 * (self._loaded_bytes + more_bytes) // max(1, self.total_bytes)

    def _tell(self, part: str, size_bytes: int, percent: int) -> None:
        self._told_percent = percent
        logger.info("loading", extra={"fields": {"part": part, "megabytes": size_bytes // 10**6, "percent": percent}})
