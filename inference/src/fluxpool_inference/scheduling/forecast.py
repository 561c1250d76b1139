"""When each image in flight will start and end, by running the choice forward without the device.

Deadlines stand still, so a choice of rows holds until one of them ends: the forecast jumps from end to end instead of
step by step, and takes one jump per image at most. Images that come later are unknown to it; one of them that is more
urgent makes it wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards, RowLimit, Schedulable, choose, order


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

    def add(self, other: "Forecast") -> None:
        """Take in what another worker does meanwhile."""
        self.starts.update(other.starts)
        self.ends.update(other.ends)


@dataclass(slots=True)
class _Rest:
    """A copy of an image that the forecast may use up."""

    number: int
    bucket: Bucket
    deadline: float
    rows: int
    reproducible: bool
    steps_left: int
    started: bool


def forecast(
    in_flight: Iterable[Unfinished],
    offered: Iterable[Unfinished],
    costs: Durations,
    row_limit: RowLimit,
    elapsed_seconds: float,
) -> Forecast:
    """Run the choice forward from now.

    Args:
        in_flight: Admitted, in order of deadline.
        offered: At the door; they cannot be in the step that is running now.
        costs: Of steps, prompts and images.
        row_limit: Of each bucket.
        elapsed_seconds: Since the step that is running now began.
    """
    rest = [_copy(image) for image in in_flight]
    now = _running_step(choose(rest, row_limit), costs, row_limit, elapsed_seconds)
    rest = sorted((*rest, *map(_copy, offered)), key=order)
    result = Forecast({}, {})
    while chosen := choose(rest, row_limit):
        for image in chosen:
            if not image.started:
                result.starts[image.number] = now
                image.started = True
                now += image.rows * costs.prompt_seconds(image.bucket)
        steps = min(image.steps_left for image in chosen)
        now += steps * _step_seconds(chosen, costs, row_limit)
        for image in chosen:
            image.steps_left -= steps
            if image.steps_left == 0:
                now += costs.image_seconds(image.bucket)
                result.ends[image.number] = now
        rest = [image for image in rest if image.number not in result.ends]
    return result


def _copy(image: Unfinished) -> _Rest:
    return _Rest(
        image.number,
        image.bucket,
        image.deadline,
        image.rows,
        image.reproducible,
        image.steps_left,
        image.started,
    )


def _running_step(chosen: list[_Rest], costs: Durations, row_limit: RowLimit, elapsed_seconds: float) -> float:
    """Count the step that is running now as done, and return the seconds until it is."""
    running = [image for image in chosen if image.started and image.steps_left > 0]
    if not running:
        return 0.0
    for image in running:
        image.steps_left -= 1
    return max(0.0, _step_seconds(running, costs, row_limit) - elapsed_seconds)


def _step_seconds(images: list[_Rest], costs: Durations, row_limit: RowLimit) -> float:
    bucket = images[0].bucket
    forwards = Forwards.of(images, row_limit(bucket))
    return forwards.number * costs.step_seconds(bucket, forwards.rows)
