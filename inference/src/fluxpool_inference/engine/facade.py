"""The engine as the HTTP process sees it."""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import replace

from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.serving import Serving
from fluxpool_inference.engine.supervisor import Events, Supervisor
from fluxpool_inference.engine.telemetry import BusyMeter, Telemetry
from fluxpool_inference.engine.ticket import EntryTicket, Ticket
from fluxpool_inference.engine.types import EngineObserver, EngineStatus, WorkerState
from fluxpool_inference.ipc.messages import Cancel, Finished, FromWorker, Ready, SetBatchSize, Submit
from fluxpool_inference.scheduling.admission import (
    AdmissionPolicy,
    Offer,
    Refusal,
    drain_problem,
    refusal,
    retry_after_seconds,
)
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import choose, order
from fluxpool_inference.scheduling.costs import longest_request_seconds
from fluxpool_inference.scheduling.deadlines import deadline
from fluxpool_inference.scheduling.forecast import forecast
from fluxpool_inference.scheduling.limits import draining_batch_size
from fluxpool_inference.values import (
    EngineConfig,
    ImageRequest,
    ModelInfo,
    Rejected,
    RejectReason,
    StartError,
    StartFailure,
)

logger = logging.getLogger(__name__)

_RUNS_AFTER_A_DEATH = 1
_MESSAGES = {
    RejectReason.QUEUE_FULL: "the queue is full",
    RejectReason.WAIT_TOO_LONG: "the estimated wait is too long",
    RejectReason.DEADLINE: "the request would not be done before its deadline",
    RejectReason.DRAINING: "the server is shutting down",
    RejectReason.NOT_READY: "the model is not ready",
}


class Engine:
    """Admits images by estimated time, has the worker make them, hands their pixels over. Belongs to one event loop."""

    def __init__(self, config: EngineConfig, observer: EngineObserver) -> None:
        self._config = config
        self._observer = observer
        self._policy = AdmissionPolicy(config.max_queue_seconds, config.max_waiting, config.drain_seconds)
        self._batch_size = config.batch_size
        self._ceiling = config.batch_size
        self._ledger = Ledger()
        self._meter = BusyMeter()
        self._telemetry = Telemetry(self._meter)
        self._serving: Serving | None = None
        self._draining = False
        self._numbers = itertools.count(1)
        self._supervisor = Supervisor(
            0,
            lambda: replace(config, batch_size=self._ceiling),
            Events(self._on_message, self._on_restarted, self._on_lost, self._on_given_up),
        )

    async def start(self) -> None:
        """Spawn the worker and wait until it has loaded, warmed and calibrated. Raises StartError."""
        ready = await self._supervisor.start()
        config = self._config
        longest = longest_request_seconds(
            ready.calibration,
            max_pixels=config.max_pixels,
            max_steps=config.max_steps,
            max_images=config.max_images,
            text_tokens=ready.model.max_sequence_length,
        )
        if problem := drain_problem(self._policy, longest):
            await self._supervisor.stop()
            raise StartError(StartFailure.INVALID_CONFIGURATION, problem)
        self._serving = Serving(ready, self._ceiling, self._ledger, self._meter, self._observer)
        self._telemetry.watch(ready.device_uuid)
        self._observer.start_stage(ready.stages)

    @property
    def model(self) -> ModelInfo:
        """The loaded model. Raises RuntimeError before `start` has returned."""
        return self._started().model

    def cost_is_predicted(self, request: ImageRequest) -> bool:
        """Whether its size was not measured, so that its cost is scaled from one that was.

        Raises RuntimeError before `start` has returned.
        """
        serving = self._started()
        return not serving.calibration.measured(Bucket.of(request, serving.model.max_sequence_length))

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
            ValueError: A guidance scale for a model without guidance embedding.
        """
        serving = self._serving
        if serving is None or self._draining or self._supervisor.status.state is not WorkerState.READY:
            reason = RejectReason.DRAINING if self._draining else RejectReason.NOT_READY
            raise self._rejection(Refusal(reason, 0.0), len(requests), 0.0, first_attempt=first_attempt)
        if not serving.model.guidance_embeds and any(request.guidance is not None for request in requests):
            raise ValueError("this model has no guidance embedding: a guidance scale has no effect on it")
        entries = [self._entry(serving, request, deadline_seconds) for request in requests]
        if refused := self._refusal(serving, entries, deadline_seconds):
            work = sum(entry.work_seconds for entry in entries)
            raise self._rejection(refused, len(entries), work, first_attempt=first_attempt)
        if not self._ledger.unfinished:
            serving.progress.idle_until_now()
        for entry in entries:
            self._observer.admitted(entry.work_seconds, entry.wait_estimate_seconds)
            self._ledger.add(entry)
            serving.sizes.admitted(entry.bucket)
            self._submit(entry)
        return [EntryTicket(entry, self._cancel) for entry in entries]

    async def generate(self, request: ImageRequest) -> RawImage:
        """Admit one image and wait for it. Raises Rejected, RequestFailed. Cancelling the task cancels the row."""
        (ticket,) = await self.admit([request])
        return await ticket.result()

    def status(self) -> EngineStatus:
        """What is true now; cheap enough for every scrape."""
        config, serving = self._config, self._serving
        worker = self._supervisor.status
        load = self._ledger.load(serving.calibration if serving else None)
        warm = serving.sizes.measured if serving else ()
        return EngineStatus(
            model=serving.model if serving else None,
            ready=worker.state is WorkerState.READY and serving is not None and not self._draining,
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
            predicted_buckets=serving.sizes.predicted if serving else (),
            pace=config.pace,
            workers=(worker,),
            memory=self._telemetry.memory(),
            utilization=self._telemetry.utilization(self._working_since()),
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
        """End the worker; what is still in flight fails. Idempotent. A `start` under way must be cancelled first."""
        self._draining = True
        await self._supervisor.stop()
        self._telemetry.close()
        self._fail_unfinished("the server was stopped")

    def _started(self) -> Serving:
        if self._serving is None:
            raise RuntimeError("the engine has not started")
        return self._serving

    def _apply_batch_size(self) -> None:
        self._ceiling = self._batch_size
        if self._draining:
            counted_on = (entry.batch_size for entry in self._ledger.unfinished)
            self._ceiling = draining_batch_size(self._batch_size, counted_on)
        if self._serving:
            self._serving.limits.batch_size = self._ceiling
        self._supervisor.send(SetBatchSize(self._ceiling))

    # ---- admission ----------------------------------------------------------------------------------------------

    def _entry(self, serving: Serving, request: ImageRequest, client_seconds: float | None) -> Entry:
        now = time.monotonic()
        bucket = Bucket.of(request, serving.model.max_sequence_length)
        work = serving.calibration.work_seconds(bucket, request.steps)
        return Entry(
            number=next(self._numbers),
            request=request,
            bucket=bucket,
            deadline=deadline(now, work, request.priority, client_seconds),
            admitted_at=now,
            work_seconds=work,
            batch_size=self._batch_size,
            result=asyncio.get_running_loop().create_future(),
        )

    def _refusal(self, serving: Serving, entries: list[Entry], client_seconds: float | None) -> Refusal | None:
        """Why the entries cannot be admitted; sets their estimates if they can."""
        unfinished = self._ledger.unfinished
        elapsed = time.monotonic() - serving.progress.last_report
        expected = forecast(unfinished, sorted(entries, key=order), serving.costs, serving.limits, elapsed)
        for entry in entries:
            entry.wait_estimate_seconds = expected.starts[entry.number]
        numbers = [entry.number for entry in entries]
        return refusal(self._policy, Offer(numbers, self._ledger.not_started, client_seconds, expected))

    def _rejection(self, refused: Refusal, images: int, work_seconds: float, *, first_attempt: bool) -> Rejected:
        self._observer.rejected(refused.reason, images, work_seconds, first_attempt)
        retry_after = retry_after_seconds(refused.wait_seconds, random.random())  # noqa: S311 - jitter, no secret
        return Rejected(refused.reason, retry_after, _MESSAGES[refused.reason])

    def _submit(self, entry: Entry) -> None:
        self._supervisor.send(Submit(entry.number, entry.request, entry.bucket, entry.deadline))

    def _cancel(self, entry: Entry) -> None:
        if self._ledger.get(entry.number) is not entry:
            return
        stage, remaining = entry.stage, entry.remaining_work(self._started().calibration)
        self._ledger.remove(entry)
        entry.result.cancel()
        if entry.image is not None:
            entry.image.release()
        else:
            self._supervisor.send(Cancel(entry.number))
        self._observer.cancelled(stage, remaining, time.monotonic() - entry.admitted_at)

    # ---- what the worker does -------------------------------------------------------------------------------------

    def _working_since(self) -> float | None:
        """When the worker began what it has not reported yet; None if it has nothing to do."""
        working = self._ledger.unfinished and self._supervisor.status.state is WorkerState.READY
        return self._serving.progress.last_report if working and self._serving else None

    def _on_message(self, message: FromWorker, descriptor: int | None) -> None:
        self._started().progress.hear(message, descriptor)
        if isinstance(message, Finished):
            self._supervisor.finished_an_image()

    def _on_lost(self, why: str) -> None:
        self._observer.worker_exited(0, why)
        # That an image was begun may have died unsaid with the worker, so what it would have done next counts as begun.
        for entry in choose(self._ledger.unfinished, self._started().limits):
            entry.started = True
        for entry in self._ledger:
            if entry.image is None:
                entry.interrupt()
                if entry.interruptions > _RUNS_AFTER_A_DEATH:
                    self._fail(entry, f"the worker died twice while it made this image: {why}")

    def _on_restarted(self, ready: Ready) -> None:
        self._telemetry.watch(ready.device_uuid)
        self._observer.start_stage(ready.stages)
        self._started().progress.idle_until_now()
        for entry in self._ledger:
            if entry.image is None:
                self._submit(entry)

    def _on_given_up(self, why: str) -> None:
        logger.error("no worker is left: %s", why)
        self._fail_unfinished(f"no worker is left: {why}")

    def _fail_unfinished(self, message: str) -> None:
        for entry in self._ledger:
            if entry.image is None:
                self._fail(entry, message)

    def _fail(self, entry: Entry, message: str) -> None:
        self._started().progress.fail(entry, message)
