"""Progress of long commands: one line per step on standard error, so that standard output stays for results."""

import sys
import time
from collections.abc import Callable
from typing import TextIO


class Console:
    """Prints sentences, each with the seconds since the command began."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._start = clock()

    def say(self, text: str) -> None:
        """Print one line."""
        self._stream.write(f"[{self._clock() - self._start:6.1f} s] {text}\n")
        self._stream.flush()
