"""The engine as the HTTP process sees it."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.engine.crew import Crew
from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.lane import Lane
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.serving import Loaded
from fluxpool_inference.engine.telemetry import memory_of_all, utilization_of_all
from fluxpool_inference.engine.ticket import EntryTicket, Ticket
from fluxpool_inference.engine.types import EngineObserver, EngineStatus
from fluxpool_inference.outcomes import Rejected, RejectReason, StartError, StartFailure, TooLarge, TooLong
from fluxpool_inference.scheduling.admission import (
    AdmissionPolicy,
    Offer,
    Promise,
    Refusal,
    delayed,
    drain_problem,
    longest_wait,
    refusal,
    retry_after_seconds,
    too_long,
)
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import order
from fluxpool_inference.scheduling.costs import longest_request_seconds
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.scheduling.forecast import Forecast
from fluxpool_inference.scheduling.limits import draining_batch_size
from fluxpool_inference.values import ImageRequest, ModelInfo

_MESSAGES = {
    RejectReason.QUEUE_FULL: "the queue is full",
    RejectReason.WAIT_TOO_LONG: "the estimated wait is too long",
    RejectReason.DEADLINE: "the request would not be done before its deadline",
    RejectReason.DRAINING: "the server is shutting down",
    RejectReason.NOT_READY: "the model is not ready",
}


class Engine:
    """Admits images by estimated time, has workers make them, hands their pixels over. Belongs to one event loop."""

    def __init__(self, config: EngineConfig, observer: EngineObserver) -> None:
        self._config = config
        self._observer = observer
        self._policy = AdmissionPolicy(config.max_queue_seconds, config.max_waiting, config.drain_seconds)
        self._batch_size = config.batch_size
        self._ceiling = config.batch_size
        self._ledger = Ledger(config.workers)
        self._loaded: Loaded | None = None
        self._draining = False
        self._numbers = itertools.count(1)
        self._crew = Crew(config.workers, lambda: replace(config, batch_size=self._ceiling), self._ledger, observer)

    async def start(self) -> None:
        """Spawn the workers; wait until one has loaded, warmed and calibrated. Raises StartError if none does."""
        loaded = await self._crew.start()
        config = self._config
        longest = longest_request_seconds(
            loaded.calibration,
            max_pixels=config.max_pixels,
            max_steps=config.max_steps,
            max_images=config.max_images,
            text_tokens=loaded.model.max_sequence_length,
        )
        if problem := drain_problem(self._policy, longest):
            await self._crew.stop()
            raise StartError(StartFailure.INVALID_CONFIGURATION, problem)
        self._loaded = loaded

    @property
    def model(self) -> ModelInfo:
        """The loaded model. Raises RuntimeError before `start` has returned."""
        return self._started().model

    def cost_is_predicted(self, request: ImageRequest) -> bool:
        """Whether its size was not measured, so that its cost is scaled from one that was.

        Raises RuntimeError before `start` has returned.
        """
        loaded = self._started()
        return not loaded.calibration.measured(Bucket.of(request, loaded.model.max_sequence_length))

    async def admit(
        self, requests: Sequence[ImageRequest], *, first_attempt: bool = True, deadline_seconds: float | None = None
    ) -> list[Ticket]:
        """Admit all images of one HTTP request, or none.

        Args:
            requests: At least one.
            first_attempt: False for a retry by the client's SDK: its work then does not count as offered again.
            deadline_seconds: How long the client will wait for the last of them, from now; None if it did not say.

        Raises:
            Rejected: With the reason, and when to try again.
            TooLarge: The device's memory does not hold one image of this size.
            TooLong: They take longer than a drain may take; only images with negative prompts can.
            ValueError: A guidance scale for a model without guidance embedding.
        """
        loaded = self._loaded
        if loaded is None or self._draining or not self._crew.ready:
            reason = RejectReason.DRAINING if self._draining else RejectReason.NOT_READY
            raise self._rejection(Refusal(reason, 0.0), len(requests), 0.0, first_attempt=first_attempt)
        if not loaded.model.guidance_embeds and any(request.guidance is not None for request in requests):
            raise ValueError("this model has no guidance embedding: a guidance scale has no effect on it")
        for bucket in {Bucket.of(request, loaded.model.max_sequence_length) for request in requests}:
            if problem := self._crew.too_large(bucket):
                raise TooLarge(problem)
        entries = self._entries(loaded, requests, deadline_seconds)
        work = sum(entry.work_seconds for entry in entries)
        if problem := too_long(self._policy, work):
            raise TooLong(problem)
        if refused := self._refusal(entries, deadline_seconds):
            raise self._rejection(refused, len(entries), work, first_attempt=first_attempt)
        for entry in entries:
            self._observer.admitted(entry.work_seconds, entry.wait_estimate_seconds)
            self._ledger.add(entry)
            loaded.sizes.admitted(entry.bucket)
            self._crew.submit(entry)
        return [EntryTicket(entry, self._cancel) for entry in entries]

    async def generate(self, request: ImageRequest) -> RawImage:
        """Admit one image and wait for it. Cancelling the task cancels the row.

        Raises Rejected, TooLarge, TooLong, RequestFailed.
        """
        (ticket,) = await self.admit([request])
        return await ticket.result()

    def status(self) -> EngineStatus:
        """What is true now; cheap enough for every scrape."""
        config, loaded, lanes = self._config, self._loaded, self._crew.lanes
        unit = loaded.calibration if loaded else None
        load = self._ledger.load(unit)
        warm = loaded.sizes.measured if loaded else ()
        return EngineStatus(
            model=loaded.model if loaded else None,
            ready=bool(self._crew.ready) and loaded is not None and not self._draining,
            draining=self._draining,
            batch_size=self._batch_size,
            batch_size_min=config.batch_size_min,
            batch_size_max=config.batch_size_max,
            waiting=load.waiting,
            running=load.running,
            queued_work_seconds=load.queued_work_seconds,
            running_work_seconds=load.running_work_seconds,
            step_fixed_seconds=warm[0].fixed_seconds if warm else 0.0,
            step_per_row_seconds=warm[0].per_row_seconds if warm else 0.0,
            warm_buckets=warm,
            predicted_buckets=loaded.sizes.predicted if loaded else (),
            pace=config.pace,
            workers=tuple(lane.status(unit) for lane in lanes),
            memory=memory_of_all([lane.telemetry for lane in lanes]),
            utilization=utilization_of_all([(lane.telemetry, lane.working_since()) for lane in self._crew.ready]),
        )

    async def set_batch_size(self, rows: int) -> int:
        """Set the ceiling of rows per step, effective at the next step; see `drain` for the exception.

        Raises ValueError outside the bounds.
        """
        low, high = self._config.batch_size_min, self._config.batch_size_max
        if not low <= rows <= high:
            raise ValueError(f"batch size must be {low} to {high}")
        self._batch_size = rows
        self._apply_batch_size()
        return rows

    async def drain(self) -> None:
        """Admit nothing more; return when nothing admitted is left in flight (answered, failed or cancelled).

        Meanwhile steps have as many rows as admission counted on, were the batch size lowered since or in the middle.
        """
        self._draining = True
        self._apply_batch_size()
        await self._ledger.empty()

    async def stop(self) -> None:
        """End the workers; what is still in flight fails. Idempotent. A `start` under way must be cancelled first."""
        self._draining = True
        await self._crew.stop()
        self._crew.fail_unfinished("the server was stopped")

    def _started(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeError("the engine has not started")
        return self._loaded

    def _apply_batch_size(self) -> None:
        self._ceiling = self._batch_size
        if self._draining:
            counted_on = (entry.batch_size for entry in self._ledger.unfinished)
            self._ceiling = draining_batch_size(self._batch_size, counted_on)
        self._crew.set_batch_size(self._ceiling)

    # ---- admission ----------------------------------------------------------------------------------------------

    def _entries(self, loaded: Loaded, requests: Sequence[ImageRequest], client_seconds: float | None) -> list[Entry]:
        """The images of a request, each with its worker."""
        buckets = [Bucket.of(request, loaded.model.max_sequence_length) for request in requests]
        works = [
            loaded.calibration.work_seconds(bucket, request.steps, rows=request.rows)
            for bucket, request in zip(buckets, requests, strict=True)
        ]
        now, loop = time.monotonic(), asyncio.get_running_loop()
        return [
            Entry(
                number=next(self._numbers),
                request=request,
                bucket=bucket,
                deadline=deadline(now, work, request.priority, client_seconds),
                admitted_at=now,
                work_seconds=work,
                batch_size=self._batch_size,
                result=loop.create_future(),
                client_leaves_at=None if client_seconds is None else now + client_seconds,
                worker=worker,
            )
            for request, bucket, work, worker in zip(requests, buckets, works, self._crew.place(works), strict=True)
        ]

    def _refusal(self, entries: list[Entry], client_seconds: float | None) -> Refusal | None:
        """Why the entries cannot be admitted; sets their estimates if they can."""
        expected = Forecast({}, {})
        promises: list[Iterator[Promise]] = []
        now = time.monotonic()
        for lane in self._crew.ready:
            offered = sorted((entry for entry in entries if entry.worker == lane.index), key=order)
            ahead = lane.forecast(offered, now)
            expected.add(ahead)
            if offered:
                promises.append(_endangered(lane, offered[0], ahead, now))
        for entry in entries:
            entry.wait_estimate_seconds = expected.starts[entry.number]
            entry.begins_by = now + longest_wait(self._policy, entry.wait_estimate_seconds)
        numbers, endangered = [entry.number for entry in entries], itertools.chain.from_iterable(promises)
        return refusal(self._policy, Offer(numbers, self._ledger.not_started, client_seconds, expected, endangered))

    def _rejection(self, refused: Refusal, images: int, work_seconds: float, *, first_attempt: bool) -> Rejected:
        self._observer.rejected(refused.reason, images, work_seconds, first_attempt)
        retry_after = retry_after_seconds(refused.wait_seconds, random.random())  # noqa: S311 - jitter, no secret
        return Rejected(refused.reason, retry_after, _MESSAGES[refused.reason])

    def _cancel(self, entry: Entry) -> None:
        if self._ledger.get(entry.number) is not entry:
            return
        stage, remaining = entry.stage, entry.remaining_work(self._started().calibration)
        self._ledger.remove(entry)
        entry.result.cancel()
        if entry.image is not None:
            entry.image.release()
        else:
            self._crew.withdraw(entry)
        self._observer.cancelled(stage, remaining, time.monotonic() - entry.admitted_at)


def _endangered(lane: Lane, offered: Entry, ahead: Forecast, now: float) -> Iterator[Promise]:
    """What was promised to images of a lane that an offer, of which this is the most urgent, overtakes or delays."""
    yield from (one.promise(now) for one in lane.unfinished if order(one) > order(offered))
    more_urgent = (one.promise(now) for one in lane.unfinished if order(one) < order(offered))
    yield from delayed(more_urgent, ahead, lambda: lane.forecast((), now))
