"""Runs a step, and holds it until its pace has passed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fluxpool_inference.values import Pace


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from, so that tests bring their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Held:
    """How a step went: its seconds, held time included, and whether it took longer than the pace (None without one)."""

    seconds: float
    overran: bool | None


def run_held(work: Callable[[], None], rows: int, pace: Pace | None, clock: Clock) -> Held:
    """Run `work`, a step over `rows` rows, then wait for the rest of its pace. What it raises is raised at once."""
    began = clock.now()
    work()
    took = clock.now() - began
    if pace is None:
        return Held(took, None)
    floor = pace.step_seconds(rows)
    if took > floor:
        return Held(took, overran=True)
    clock.sleep(floor - took)
    return Held(clock.now() - began, overran=False)
