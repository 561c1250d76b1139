"""When a worker hangs: it has something to do, and says nothing for far longer than that takes.

A worker speaks after everything it does on the device, so its silence is the time of what it does now. How long that
should take is known from its own steps; a hang is many times as long, and never less than a floor that leaves room for
what is done for the first time.
"""

from dataclasses import dataclass

LOOK_SECONDS = 1.0
"""Between two looks."""
GENEROUS = 20.0
"""Times the expected duration."""


@dataclass(slots=True)
class Watchdog:
    """Of one worker. Only silence that this process was awake for counts: it may itself have been stopped meanwhile."""

    floor_seconds: float
    silence_seconds: float = 0.0
    _since: float | None = None
    _looked: float = 0.0

    def barks(self, now: float, working_since: float | None, expected_seconds: float) -> bool:
        """Look, every `LOOK_SECONDS`; whether the worker hangs.

        Args:
            now: The moment.
            working_since: When it began what it has not reported yet; None if it has nothing to do.
            expected_seconds: The longest that this should take.
        """
        if working_since is None or working_since != self._since:
            self.silence_seconds = 0.0
        else:
            self.silence_seconds += min(now - self._looked, 2 * LOOK_SECONDS)
        self._since, self._looked = working_since, now
        return self.silence_seconds > max(self.floor_seconds, GENEROUS * expected_seconds)
