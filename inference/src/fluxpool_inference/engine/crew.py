"""All workers of a pod: at least one must start, and what one cannot do any more goes to the others.

They start at the same time, and the engine serves as soon as the first is ready. A worker that does not start, or dies,
is told of and tried again while the others serve. Its images run again at once on the workers with the least remaining
work, or on itself if it is the only one; an image that two workers died over is given up.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.engine import watchdog
from fluxpool_inference.engine.lane import Lane, Place
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.progress import fail
from fluxpool_inference.engine.serving import Loaded
from fluxpool_inference.engine.supervisor import Events
from fluxpool_inference.engine.types import EngineObserver, WorkerState
from fluxpool_inference.ipc.messages import Failed, Finished, FromWorker, Ready, SetBatchSize
from fluxpool_inference.outcomes import StartError
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import choose, order
from fluxpool_inference.scheduling.memory import too_large
from fluxpool_inference.scheduling.placement import Waiting, place, relieve

logger = logging.getLogger(__name__)

KEEP_COSTS_SECONDS = 60.0
_RUNS_AFTER_A_DEATH = 1


class Crew:
    """The lanes of one engine. `config` is asked anew for each process, and says the batch size that it begins with."""

    def __init__(
        self, workers: int, config: Callable[[], EngineConfig], ledger: Ledger, observer: EngineObserver
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._observer = observer
        self._loaded: Loaded | None = None
        self._tasks: list[asyncio.Task[None]] = []
        shared = Place(workers, config, ledger, observer, config().watchdog_seconds)
        self.lanes = [Lane(index, shared, self._events(index)) for index in range(workers)]

    async def start(self) -> Loaded:
        """Start all workers; return when the first serves. Raises the first one's StartError if none does."""
        starts = [self._background(lane.supervisor.start()) for lane in self.lanes]
        try:
            pending = set(starts)
            while pending and self._loaded is None:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _cancel(starts)
            raise
        if self._loaded is None:
            raise next(error for start in starts if (error := start.exception()))
        for lane, start in zip(self.lanes, starts, strict=True):
            start.add_done_callback(partial(self._started, lane))
        self._background(self._watch())
        self._background(self._keep_costs())
        return self._loaded

    async def stop(self) -> None:
        """End all workers. Idempotent."""
        await _cancel(self._tasks)
        await asyncio.gather(self._write_costs(), *(lane.supervisor.stop() for lane in self.lanes))
        for lane in self.lanes:
            lane.telemetry.close()

    @property
    def ready(self) -> list[Lane]:
        """The lanes whose workers serve."""
        return [lane for lane in self.lanes if lane.ready]

    def set_batch_size(self, rows: int) -> None:
        """The ceiling of rows of each worker, from its next step on."""
        for lane in self.lanes:
            lane.set_batch_size(rows)
            lane.supervisor.send(SetBatchSize(rows))

    def place(self, works: Sequence[float]) -> list[int]:
        """The workers of new images of so much work each. At least one must be ready."""
        return place(works, {lane.index: self._load(lane) for lane in self.ready})

    def too_large(self, bucket: Bucket) -> str | None:
        """Why no image of this size can be made; see `memory.too_large`. All that serve must hold it: images move."""
        memories = (lane.serving.memory for lane in self.ready)
        return next((why for memory in memories if memory and (why := too_large(memory, bucket))), None)

    def submit(self, entry: Entry) -> None:
        """Have an image made that was put into the ledger."""
        self.lanes[entry.worker].submit(entry)

    def withdraw(self, entry: Entry) -> None:
        """An image that was struck off the ledger need not be made."""
        self.lanes[entry.worker].withdraw(entry)
        self._settle()

    def fail_unfinished(self, message: str) -> None:
        """No image will be made any more."""
        for entry in self._ledger.unfinished:
            self._fail(entry, message)

    def _events(self, index: int) -> Events:
        def bound(method: Callable[..., None]) -> Callable[..., None]:
            return lambda *told: method(self.lanes[index], *told)

        return Events(bound(self._on_message), bound(self._on_ready), bound(self._on_lost), bound(self._on_given_up))

    def _background(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    def _started(self, lane: Lane, start: "asyncio.Task[None]") -> None:
        error = None if start.cancelled() else start.exception()
        if isinstance(error, StartError):
            logger.error("worker %d does not start: %s", lane.index, error.message)
            lane.supervisor.try_again()
        elif error is not None:
            raise error

    async def _watch(self) -> None:
        """Kill the workers that hang."""
        while True:
            await asyncio.sleep(watchdog.LOOK_SECONDS)
            for lane in self.ready:
                expected = lane.longest_expected_seconds()
                if lane.watchdog.barks(time.monotonic(), lane.working_since(), expected):
                    silence = lane.watchdog.silence_seconds
                    lane.supervisor.kill(f"it said nothing for {silence:.0f} s in work of at most {expected:.2f} s")

    async def _keep_costs(self) -> None:
        """Now and then, since a process that is killed does not come to its `stop`."""
        while True:
            await asyncio.sleep(KEEP_COSTS_SECONDS)
            await self._write_costs()

    async def _write_costs(self) -> None:
        """Of one worker: those of a pod are alike, and so are their files."""
        if self._loaded is not None:
            await next(lane for lane in self.lanes if lane.has_served).write_costs()

    # ---- what the workers do --------------------------------------------------------------------------------------

    def _on_message(self, lane: Lane, message: FromWorker, descriptor: int | None) -> None:
        lane.serving.progress.hear(message, descriptor)
        if isinstance(message, Finished):
            lane.supervisor.finished_an_image()
        if isinstance(message, Finished | Failed):
            self._settle()

    def _on_ready(self, lane: Lane, ready: Ready) -> None:
        lane.takes_over(ready, self._config().batch_size)
        if self._loaded is None:  # strictly after: the engine serves as soon as this is set
            self._loaded = Loaded(ready)
        self._observer.start_stage(ready.stages)
        for entry in lane.unfinished:
            lane.submit(entry)
        self._settle()

    def _on_lost(self, lane: Lane, why: str) -> None:
        self._observer.worker_exited(lane.index, why)
        # That an image was begun may have died unsaid with the worker, so what it would have done next counts as begun.
        heard_of = (entry for entry in lane.unfinished if entry.delivered)
        for entry in choose(heard_of, lane.serving.limits):
            entry.started = True
        for entry in list(lane.unfinished):
            entry.interrupt()
            if entry.interruptions > _RUNS_AFTER_A_DEATH:
                self._fail(entry, f"the worker died twice while it made this image: {why}")
        self._settle()

    def _on_given_up(self, lane: Lane, why: str) -> None:
        logger.error("worker %d is given up: %s", lane.index, why)
        if all(lane.supervisor.state is WorkerState.STOPPED for lane in self.lanes):
            self.fail_unfinished(f"no worker is left: {why}")

    def _fail(self, entry: Entry, message: str) -> None:
        fail(self._ledger, entry, message, self._observer, time.monotonic())

    # ---- who does what --------------------------------------------------------------------------------------------

    def _load(self, lane: Lane) -> float:
        return lane.load(self._loaded.calibration) if self._loaded else 0.0

    def _settle(self) -> None:
        """Images of workers that do not serve go to those that do; those that have run dry take from the others."""
        serving = self.ready
        if len(self.lanes) == 1 or not serving or self._loaded is None:
            return
        orphans = [entry for lane in self.lanes if not lane.ready for entry in lane.unfinished]
        for entry in sorted(orphans, key=order):
            self._move(entry, *self.place([entry.work_seconds]))
        loads = {lane.index: self._load(lane) for lane in serving}
        images = {entry.number: entry for lane in serving for entry in lane.unfinished if not entry.started}
        waiting: dict[int, list[Waiting]] = {lane.index: [] for lane in serving}
        for entry in images.values():
            waiting[entry.worker].append(Waiting(entry.number, entry.work_seconds))
        for move in relieve(loads, waiting):
            self._move(images[move.number], move.worker)

    def _move(self, entry: Entry, worker: int) -> None:
        self.lanes[entry.worker].withdraw(entry)
        self._ledger.move(entry, worker)
        self.submit(entry)


async def _cancel(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
