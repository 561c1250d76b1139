"""Who is in the next step: the earliest deadline picks the bucket, the next deadlines of that bucket fill the rows.

An image is one row of a step, or two: a pair of true CFG, which is never divided. Where a pair does not fit any more, a
less urgent image that does fit goes before it, so that no row is idle that one could fill; nothing goes before the most
urgent image of all. Where the limit is a single row, a pair runs alone, a row at a time; a reproducible image always
does, so that its forwards are the same whatever else is in flight.

The images in flight and the rows of this step are two sets: an image may be paused at any step, when others are more
urgent, and goes on where it was. Deadlines stand still, so the choice changes only when an image comes, ends or is
cancelled, or when a limit changes: no image is tossed in and out.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fluxpool_inference.scheduling.bucket import Bucket

RowLimit = Callable[[Bucket], int]
"""How many rows of a bucket one forward may have: at least 1."""


class Schedulable(Protocol):
    """An image in flight, as far as the choice cares. `number` is unique, and breaks ties in favour of the older.

    `rows` is 2 of a pair of true CFG, else 1. If `reproducible`, each of them has a forward of its own.
    """

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def bucket(self) -> Bucket: ...  # noqa: D102
    @property
    def deadline(self) -> float: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def reproducible(self) -> bool: ...  # noqa: D102


T = TypeVar("T", bound=Schedulable)


def choose(in_flight: Iterable[T], row_limit: RowLimit) -> list[T]:
    """The images of the next step.

    Args:
        in_flight: In order of deadline, as a `DeadlineQueue` iterates.
        row_limit: See `RowLimit`.

    Returns:
        Images of one bucket, most urgent first; empty only if nothing is in flight. Their rows are no more than the
        limit, unless it is one image alone: see `Forwards.of`.
    """
    chosen: list[T] = []
    room = 0
    for image in in_flight:
        if not chosen:
            room = 0 if image.reproducible else row_limit(image.bucket)
        elif image.reproducible or image.bucket != chosen[0].bucket or image.rows > room:
            continue
        chosen.append(image)
        room -= image.rows
        if room <= 0:
            break
    return chosen


@dataclass(frozen=True, slots=True)
class Forwards:
    """How a step runs: by so many forwards, each over so many rows."""

    number: int
    rows: int

    @classmethod
    def of(cls, images: Sequence[Schedulable], limit: int) -> "Forwards":
        """One over all rows of a step; if these are above `limit`, or of a reproducible image, one for each row."""
        rows = sum(image.rows for image in images)
        return cls(1, rows) if rows <= limit and not images[0].reproducible else cls(rows, 1)


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
