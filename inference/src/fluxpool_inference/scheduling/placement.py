"""Which worker makes an image, where a pod has several: the one with the least remaining work.

An image is placed when it is admitted, so that it joins that worker's very next step; the choice there is the same as
with one worker. Two things move it later, as long as no worker has begun with it: its worker died, or another worker
has run dry. So no device is idle while an image waits for another one.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that no worker has begun with."""

    number: int
    work_seconds: float


@dataclass(frozen=True, slots=True)
class Move:
    """This image is better off with that worker."""

    number: int
    worker: int


def place(works: Iterable[float], loads: Mapping[int, float]) -> list[int]:
    """The worker of each image.

    Args:
        works: Work of each image, in the order in which they choose.
        loads: Remaining work of each worker, of which there is at least one. Of equals the first is taken.
    """
    filled = dict(loads)
    placed: list[int] = []
    for work in works:
        worker = min(filled, key=lambda index: (filled[index], index))
        filled[worker] += work
        placed.append(worker)
    return placed


def relieve(loads: Mapping[int, float], waiting: Mapping[int, Sequence[Waiting]]) -> Iterator[Move]:
    """What workers without work take from the others: the most urgent images, until the rest is no more than theirs.

    They take in turn, the one with the least first. An image moves only where less work is before it, so one that is
    alone with its worker stays.

    Args:
        loads: Remaining work of each worker.
        waiting: Images that none has begun with, by the worker they wait for, most urgent first.
    """
    left = dict(loads)
    queues = {worker: deque(images) for worker, images in waiting.items()}
    dry = [worker for worker, load in loads.items() if load == 0]
    while dry:
        taker = min(dry, key=left.__getitem__)
        sources = [w for w, images in queues.items() if images and left[taker] + images[0].work_seconds < left[w]]
        if not sources:
            return
        source = max(sources, key=left.__getitem__)
        image = queues[source].popleft()
        left[source] -= image.work_seconds
        left[taker] += image.work_seconds
        yield Move(image.number, taker)
