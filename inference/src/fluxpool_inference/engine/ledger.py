"""What is admitted and not yet answered, and how far each image has come: the worker's state, as known here."""

import asyncio
import math
from dataclasses import dataclass, field
from itertools import chain

from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.types import Stage
from fluxpool_inference.scheduling.admission import Promise
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import DeadlineQueue
from fluxpool_inference.scheduling.costs import Calibration
from fluxpool_inference.values import ImageRequest


@dataclass(slots=True, eq=False)
class Entry:
    """One admitted image, from admission until its pixels are released.

    Attributes:
        number: Unique in this process; also the order of admission.
        request: What was asked for.
        bucket: What it may share a forward with.
        deadline: When it should be done.
        admitted_at: When it was admitted.
        work_seconds: Of the whole image.
        batch_size: What its admission counted on, in rows per step.
        client_leaves_at: When its client will hang up; None if it did not say.
        begins_by: When a worker is to have begun with it, as admission promised.
        worker: Index of the worker that is to make it.
        wait_estimate_seconds: As admission saw it.
        result: Its pixels, or why there are none.
        delivered: Whether that worker can have heard of it.
        started: Whether the present worker has begun with it.
        encoded: Whether its prompt is encoded there.
        steps_done: Of its denoising, there.
        wait_seconds: From admission until a worker began; None before.
        interruptions: How many workers died after they had begun with it.
        image: Its pixels, once they are in this process.
    """

    number: int
    request: ImageRequest
    bucket: Bucket
    deadline: float
    admitted_at: float
    work_seconds: float
    batch_size: int
    result: "asyncio.Future[RawImage]"
    client_leaves_at: float | None = None
    begins_by: float = math.inf
    worker: int = 0
    wait_estimate_seconds: float = 0.0
    delivered: bool = False
    started: bool = False
    encoded: bool = False
    steps_done: int = 0
    wait_seconds: float | None = None
    interruptions: int = 0
    image: RawImage | None = field(default=None, repr=False)

    @property
    def rows(self) -> int:
        """Of each of its steps."""
        return self.request.rows

    @property
    def reproducible(self) -> bool:
        """Whether each of its rows has a forward of its own."""
        return self.request.reproducible

    @property
    def steps_left(self) -> int:
        """Of its denoising."""
        return self.request.steps - self.steps_done

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if self.image is not None:
            return Stage.RESPOND
        if self.steps_left == 0:
            return Stage.DECODE
        if self.encoded:
            return Stage.DENOISE
        return Stage.ENCODE if self.started else Stage.QUEUE

    def promise(self, now: float) -> Promise:
        """What it was admitted with, seen from now."""
        return Promise(
            self.number,
            begins_within=None if self.started else self.begins_by - now,
            ends_within=None if self.client_leaves_at is None else self.client_leaves_at - now,
        )

    def interrupt(self) -> None:
        """Its worker died: nothing of it is done any more."""
        self.interruptions += self.started
        self.forget_progress()

    def forget_progress(self) -> None:
        """A worker begins anew with it."""
        self.started = self.encoded = False
        self.steps_done = 0

    def remaining_work(self, calibration: Calibration) -> float:
        """Work-seconds still to do."""
        if self.image is not None:
            return 0.0
        return calibration.work_seconds(self.bucket, self.steps_left, rows=self.rows, encode=not self.encoded)


@dataclass(frozen=True, slots=True)
class Load:
    """How many images wait (no step of theirs has run) and run, and what they still need."""

    waiting: int
    running: int
    queued_work_seconds: float
    running_work_seconds: float


class Ledger:
    """The entries by number, and those that each worker still has by deadline."""

    def __init__(self, workers: int = 1) -> None:
        self._entries: dict[int, Entry] = {}
        self._unfinished: list[DeadlineQueue[Entry]] = [DeadlineQueue() for _ in range(workers)]
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def unfinished(self) -> list[Entry]:
        """What the workers still have to do."""
        return list(chain.from_iterable(self._unfinished))

    def of(self, worker: int) -> DeadlineQueue[Entry]:
        """What one worker still has to do, most urgent first."""
        return self._unfinished[worker]

    @property
    def not_started(self) -> int:
        """Images that no worker has begun with."""
        return sum(not entry.started for entry in chain.from_iterable(self._unfinished))

    def get(self, number: int) -> Entry | None:
        """The entry of this number; None if it was answered, failed or cancelled."""
        return self._entries.get(number)

    def add(self, entry: Entry) -> None:
        """Admit an image."""
        self._entries[entry.number] = entry
        self._unfinished[entry.worker].add(entry)
        self._empty.clear()

    def move(self, entry: Entry, worker: int) -> None:
        """Give an unfinished image to another worker; what was done of it is not done there."""
        self._unfinished[entry.worker].remove(entry)
        entry.forget_progress()
        entry.worker = worker
        self._unfinished[worker].add(entry)

    def finish(self, entry: Entry, image: RawImage) -> None:
        """The worker is done with it; it stays until its pixels are released."""
        self._unfinished[entry.worker].remove(entry)
        entry.image = image

    def remove(self, entry: Entry) -> None:
        """Strike an entry that is in the ledger."""
        del self._entries[entry.number]
        if entry.image is None:
            self._unfinished[entry.worker].remove(entry)
        if not self._entries:
            self._empty.set()

    async def empty(self) -> None:
        """Wait until nothing is in flight."""
        await self._empty.wait()

    def load(self, calibration: Calibration | None) -> Load:
        """Counts and remaining work; without a calibration there is nothing in flight."""
        if calibration is None:
            return Load(0, 0, 0.0, 0.0)
        waiting = [entry for entry in self._entries.values() if entry.steps_done == 0]
        running = [entry for entry in self._entries.values() if entry.steps_done > 0]
        return Load(
            len(waiting),
            len(running),
            sum(entry.remaining_work(calibration) for entry in waiting),
            sum(entry.remaining_work(calibration) for entry in running),
        )
