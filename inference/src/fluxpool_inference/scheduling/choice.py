"""Who is in the next step: the earliest deadline picks the bucket, the next deadlines of that bucket fill the rows.

The images in flight and the rows of this step are two sets: an image may be paused at any step, when others are more
urgent, and goes on where it was. Deadlines stand still, so the choice changes only when an image comes, ends or is
cancelled, or when a limit changes: no image is tossed in and out.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from fluxpool_inference.scheduling.bucket import Bucket

RowLimit = Callable[[Bucket], int]
"""How many rows of a bucket one step may have: at least 1."""


class Schedulable(Protocol):
    """An image in flight, as far as the choice cares. `number` is unique, and breaks ties in favour of the older."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def bucket(self) -> Bucket: ...  # noqa: D102
    @property
    def deadline(self) -> float: ...  # noqa: D102


T = TypeVar("T", bound=Schedulable)


def choose(in_flight: Iterable[T], row_limit: RowLimit) -> list[T]:
    """The rows of the next step.

    Args:
        in_flight: In order of deadline, as a `DeadlineQueue` iterates.
        row_limit: See `RowLimit`.

    Returns:
        Rows of one bucket, most urgent first; empty only if nothing is in flight.
    """
    rows: list[T] = []
    limit = 1
    for image in in_flight:
        if not rows:
            limit = row_limit(image.bucket)
        elif image.bucket != rows[0].bucket:
            continue
        rows.append(image)
        if len(rows) == limit:
            break
    return rows


def order(image: Schedulable) -> tuple[float, int]:
    """Sorts images by urgency: deadline, then age."""
    return image.deadline, image.number


class DeadlineQueue(Generic[T]):
    """The images in flight, in order of deadline, then of number."""

    def __init__(self) -> None:
        self._images: list[T] = []

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[T]:
        return iter(self._images)

    def add(self, image: T) -> None:
        """Put an image in its place."""
        insort(self._images, image, key=order)

    def remove(self, image: T) -> None:
        """Take an image out. Raises ValueError if it is not in flight."""
        index = bisect_left(self._images, order(image), key=order)
        if index == len(self._images) or self._images[index] is not image:
            raise ValueError(f"image {image.number} is not in flight")
        del self._images[index]
