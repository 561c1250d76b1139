"""Is the process alive, and is it of use: the heartbeats of its parts, and what it still waits for.

Each part that must not stand still beats its own heart; `/healthz` fails once a beat is older than that part's limit,
and Kubernetes starts the process again. `/readyz` fails as long as something is awaited, and says what.
"""

import time
from collections.abc import Callable


class Health:
    """Heartbeats by name, and the one thing awaited (None: ready)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: dict[str, float] = {}
        self._beats: dict[str, float] = {}
        self.awaited: str | None = "start"

    def expect(self, part: str, limit_seconds: float) -> None:
        """From now on `part` must beat at least every `limit_seconds`."""
        self._limits[part] = limit_seconds
        self.beat(part)

    def beat(self, part: str) -> None:
        """Say that `part` is alive."""
        self._beats[part] = self._clock()

    def stalled(self) -> list[str]:
        """One sentence per part whose last beat is too old."""
        now = self._clock()
        return [
            f"{part}: no heartbeat for {now - self._beats[part]:.0f} s (limit {limit:.0f} s)"
            for part, limit in self._limits.items()
            if now - self._beats[part] > limit
        ]
