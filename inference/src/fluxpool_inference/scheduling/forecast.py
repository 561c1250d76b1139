"""When each image in flight will start and end, by running the choice forward without the device.

Deadlines stand still, so a choice of rows holds until one of them ends: the forecast jumps from end to end instead of
step by step, and takes one jump per image at most. Images that come later are unknown to it; one of them that is more
urgent makes it wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import RowLimit, Schedulable, choose


class Durations(Protocol):
    """How long the parts of an image take, in seconds; `Calibration` and `OnlineCosts` are such."""

    def step_seconds(self, bucket: Bucket, rows: int) -> float: ...  # noqa: D102
    def prompt_seconds(self, bucket: Bucket) -> float: ...  # noqa: D102
    def image_seconds(self, bucket: Bucket) -> float: ...  # noqa: D102


class Unfinished(Schedulable, Protocol):
    """An image in flight, with what is left to do."""

    @property
    def steps_left(self) -> int: ...  # noqa: D102
    @property
    def started(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds from now, by the image's number. An image that has started is not in `starts`."""

    starts: dict[int, float]
    ends: dict[int, float]

    @property
    def drained(self) -> float:
        """When nothing is left."""
        return max(self.ends.values(), default=0.0)


@dataclass(slots=True)
class _Rest:
    """A copy of an image that the forecast may use up."""

    number: int
    bucket: Bucket
    deadline: float
    steps_left: int
    started: bool


def forecast(
    in_flight: Iterable[Unfinished], costs: Durations, row_limit: RowLimit, lead_seconds: float = 0.0
) -> Forecast:
    """Run the choice forward.

    Args:
        in_flight: In order of deadline.
        costs: Of steps, prompts and images.
        row_limit: Of each bucket.
        lead_seconds: What is left of the step that is running now.
    """
    rest = [_Rest(i.number, i.bucket, i.deadline, i.steps_left, i.started) for i in in_flight]
    result = Forecast({}, {})
    now = lead_seconds
    while rows := choose(rest, row_limit):
        for row in rows:
            if not row.started:
                result.starts[row.number] = now
                row.started = True
                now += costs.prompt_seconds(row.bucket)
        steps = min(row.steps_left for row in rows)
        now += steps * costs.step_seconds(rows[0].bucket, len(rows))
        for row in rows:
            row.steps_left -= steps
            if row.steps_left == 0:
                now += costs.image_seconds(row.bucket)
                result.ends[row.number] = now
        rest = [image for image in rest if image.steps_left > 0]
    return result
