"""A work queue of keys, after client-go's: what makes an event-driven controller level-triggered.

A key is *queued* (once, however often it is added), then *in flight* with exactly one worker. Added while in flight,
it is queued again when that worker is done, so that no change is lost and none is worked on twice at a time. Order is
first in, first out over all keys: one busy key cannot starve the others.

A key also has at most one timer. It is set by `add_after` (the plan asks to be called again) or by `retry` (the
attempt failed; exponential backoff with jitter) and it is void once a worker takes the key, since that worker will
decide anew. A retry does not hold back an event: `add` queues the key at once.
"""

import asyncio
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """`first_seconds` x 2^failures, at most `longest_seconds`, of which the upper half is random."""

    first_seconds: float = 0.25
    longest_seconds: float = 120.0

    def seconds(self, failures: int, chance: float) -> float:
        """The delay after `failures` failures in a row (0 is the first), `chance` in [0, 1)."""
        full = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures, 30))
        return full * (0.5 + 0.5 * chance)


class WorkQueue(Generic[Key]):
    """See the module. For one event loop; times are the loop's."""

    def __init__(self, backoff: Backoff | None = None, chance: Callable[[], float] = random.random) -> None:
        self._backoff = backoff or Backoff()
        self._chance = chance
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued_at: dict[Key, float] = {}
        self._in_flight: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many keys are queued, not counting those in flight or waiting for their timer."""
        return len(self._queued_at)

    def add(self, key: Key) -> None:
        """Queue the key now."""
        if key in self._in_flight:
            self._again.add(key)
        elif key not in self._queued_at:
            self._queued_at[key] = _now()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Queue the key in so many seconds, or earlier if its timer says so."""
        due = _now() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_at(due, self._ring, key)

    def retry(self, key: Key, at_least_seconds: float = 0.0) -> float:
        """Queue the key after its backoff, and count one more failure. Returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = max(at_least_seconds, self._backoff.seconds(failures, self._chance()))
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: Key) -> None:
        """Start the key's backoff anew."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Drop the key's timer and backoff: it is gone for good."""
        self.succeeded(key)
        self._cancel_timer(key)

    async def get(self) -> tuple[Key, float]:
        """Wait for a key and take it in flight; `done` must follow. Returns it and the seconds it was queued."""
        key = await self._ready.get()
        now = _now()
        waited = now - self._queued_at.pop(key)
        self._in_flight[key] = now
        self._cancel_timer(key)
        return key, waited

    def done(self, key: Key) -> None:
        """End the key's flight; it is queued again if it was added meanwhile."""
        del self._in_flight[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def longest_flight_seconds(self) -> float:
        """For how long the oldest key in flight has been so; 0 when there is none."""
        return max((_now() - since for since in self._in_flight.values()), default=0.0)

    def _ring(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()
