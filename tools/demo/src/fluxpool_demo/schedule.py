"""When requests are sent: a rate that changes in steps, and arrival times drawn from it before anything runs.

The times do not depend on how fast answers come (an open loop), so a slow server cannot slow its own load down.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of constant rate.

    Attributes:
        name: what people call it, for example `step up`.
        seconds: how long it lasts.
        rate: images per second; 0 is silence.
    """

    name: str
    seconds: float
    rate: float

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.rate >= 0):
            raise ValueError(
                f"a step lasts longer than 0 s at a rate of 0 or more, not {self.seconds} s at {self.rate}"
            )


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps, one after another."""

    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """How long all steps last."""
        return sum(step.seconds for step in self.steps)

    @property
    def starts(self) -> tuple[float, ...]:
        """When each step begins, in seconds from the start of the first."""
        return tuple(accumulate((step.seconds for step in self.steps[:-1]), initial=0.0))

    @property
    def rises(self) -> tuple[float, ...]:
        """When the rate goes up, in seconds from the start; the first step rises from 0."""
        rates = (0.0, *(step.rate for step in self.steps))
        return tuple(
            start for start, (before, after) in zip(self.starts, pairwise(rates), strict=True) if after > before
        )

    def step_at(self, second: float) -> Step | None:
        """The step that is on at this second; None before the first and after the last."""
        on = None
        for start, step in zip(self.starts, self.steps, strict=True):
            if start <= second < start + step.seconds:
                on = step
        return on


def constant_arrivals(schedule: Schedule) -> tuple[float, ...]:
    """Arrival times in seconds from the start, evenly spaced within each step, half a gap after its beginning."""
    times: list[float] = []
    for start, step in zip(schedule.starts, schedule.steps, strict=True):
        count = round(step.seconds * step.rate)
        times += [start + (i + 0.5) / step.rate for i in range(count)]
    return tuple(times)


def poisson_arrivals(schedule: Schedule, seed: int) -> tuple[float, ...]:
    """Arrival times in seconds from the start, of a Poisson process with the schedule's rate; equal for equal seeds."""
    generator = random.Random(seed)  # noqa: S311 - load, not secrets
    times: list[float] = []
    for start, step in zip(schedule.starts, schedule.steps, strict=True):
        times += _poisson(generator, start, step)
    return tuple(times)


def _poisson(generator: random.Random, start: float, step: Step) -> Sequence[float]:
    times: list[float] = []
    if step.rate == 0:
        return times
    at = start + generator.expovariate(step.rate)
    while at < start + step.seconds:
        times.append(at)
        at += generator.expovariate(step.rate)
    return times
