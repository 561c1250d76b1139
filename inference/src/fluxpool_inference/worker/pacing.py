"""Runs a step, and holds it until its pace has passed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fluxpool_inference.configuration import Pace
from fluxpool_inference.scheduling.choice import Forwards


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


def run_held(work: Callable[[], None], forwards: Forwards, pace: Pace | None, clock: Clock) -> Held:
    """Run `work`, a step of such forwards, then wait for the rest of their pace. What it raises is raised at once."""
    began = clock.now()
    work()
    took = clock.now() - began
    if pace is None:
        return Held(took, None)
    floor = forwards.number * pace.step_seconds(forwards.rows)
    if took > floor:
        return Held(took, overran=True)
    clock.sleep(floor - took)
    return Held(clock.now() - began, overran=False)
