"""By how much waits turn out longer than forecast, so that a promised wait is a bound and not a middle.

A forecast is as often too short as too long. Who is admitted at a forecast of exactly `max_queue_seconds` waits longer
than that every other time, and a drain that counts on it ends late. So admission counts on waits as much longer
than forecast as covers nearly all of the errors that were seen lately.
"""

import math
from collections import deque

REMEMBERED = 200
"""Waits, the latest."""
COVERED = 0.99
"""Share of them that would have kept their forecast times the allowance."""
UNPROVEN = 1.1
"""The least allowance until `PROVEN` waits were seen."""
PROVEN = 50
MOST = 1.5
"""A forecast that is further off than this is not mended by admitting less."""


class Allowance:
    """A factor on forecast waits, from the waits that followed.

    Attributes:
        factor: 1 to `MOST`.
    """

    def __init__(self, telling_seconds: float) -> None:
        """Waits that were forecast at less than `telling_seconds` tell nothing: a hiccup is many times one of them."""
        self.factor = UNPROVEN
        self._telling_seconds = telling_seconds
        self._ratios: deque[float] = deque(maxlen=REMEMBERED)

    def saw(self, forecast_seconds: float, wait_seconds: float) -> None:
        """Learn from a wait that nothing has changed since its forecast but what the device does."""
        if forecast_seconds < self._telling_seconds:
            return
        self._ratios.append(wait_seconds / forecast_seconds)
        covering = sorted(self._ratios)[math.ceil(COVERED * len(self._ratios)) - 1]
        least = 1.0 if len(self._ratios) >= PROVEN else UNPROVEN
        self.factor = min(max(covering, least), MOST)
