"""Applies what the worker says to the ledger, to the costs, and to the observer."""

import logging
import os
import time
from collections.abc import Callable

from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.telemetry import BusyMeter
from fluxpool_inference.engine.types import EngineObserver
from fluxpool_inference.ipc.messages import Encoded, Failed, Finished, FromWorker, RowsLowered, Started, StepDone
from fluxpool_inference.ipc.pixels import take
from fluxpool_inference.outcomes import RequestFailed
from fluxpool_inference.scheduling.costs import OnlineCosts
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import Timings

logger = logging.getLogger(__name__)


def fail(ledger: Ledger, entry: Entry, message: str, observer: EngineObserver, now: float) -> None:
    """An admitted image cannot be made."""
    ledger.remove(entry)
    if not entry.result.done():
        entry.result.set_exception(RequestFailed(message))
        entry.result.exception()  # retrieved: a ticket that nobody awaits any more is no error of ours
    observer.failed(now - entry.admitted_at)


class Progress:
    """The engine's ears for one worker.

    Messages about images that are gone (cancelled, or with another worker by now) are dropped, their pixels freed.
    """

    def __init__(
        self,
        ledger: Ledger,
        worker: int = 0,
        *,
        costs: OnlineCosts,
        limits: RowLimits,
        meter: BusyMeter,
        observer: EngineObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._costs = costs
        self._limits = limits
        self._meter = meter
        self._observer = observer
        self._clock = clock
        self.last_report = clock()

    def idle_until_now(self) -> None:
        """The worker had nothing to do; what comes next begins now."""
        self.last_report = self._clock()

    def hear(self, message: FromWorker, descriptor: int | None) -> None:
        """Take in one message."""
        self.last_report = self._clock()
        match message:
            case Started():
                self._started(message)
            case Encoded():
                self._encoded(message)
            case StepDone():
                self._step_done(message)
            case Finished():
                self._finished(message, descriptor)
            case Failed():
                if entry := self._own(message.number):
                    self._fail(entry, message.message)
            case RowsLowered():
                logger.warning("memory holds %d rows of %s", message.rows, message.bucket)
                self._limits.lower(message.bucket, message.rows)
            case _:
                raise TypeError(f"{type(message).__name__} from a worker that serves")

    def _own(self, number: int) -> Entry | None:
        entry = self._ledger.get(number)
        return entry if entry is not None and entry.worker == self._worker else None

    def _fail(self, entry: Entry, message: str) -> None:
        fail(self._ledger, entry, message, self._observer, self._clock())

    def _started(self, message: Started) -> None:
        entry = self._own(message.number)
        if entry is None:
            return
        entry.started = True
        if entry.wait_seconds is None:
            entry.wait_seconds = max(0.0, message.at - entry.admitted_at)
            self._observer.started(entry.wait_seconds)

    def _encoded(self, message: Encoded) -> None:
        self._busy(message.seconds)
        self._costs.saw_prompt(message.bucket, message.seconds)
        self._observer.prompt_encoded(message.hit)
        if entry := self._own(message.number):
            entry.encoded = True

    def _step_done(self, message: StepDone) -> None:
        self._busy(message.seconds)
        forwards = message.forwards
        for _ in range(forwards.number):
            seconds = message.seconds / forwards.number
            self._costs.saw_step(message.bucket, forwards.rows, seconds)
            self._observer.step_done(message.bucket.pixels, forwards.rows, seconds)
            if message.overran is not None:
                self._observer.paced_step(message.overran)
        for number in message.numbers:
            if entry := self._own(number):
                entry.steps_done += 1

    def _finished(self, message: Finished, descriptor: int | None) -> None:
        if descriptor is None:
            raise TypeError("Finished without a descriptor")
        self._busy(message.decode_seconds)
        self._costs.saw_image(message.bucket, message.decode_seconds)
        entry = self._own(message.number)
        if entry is None or entry.result.done():
            os.close(descriptor)
            return
        timings = Timings(
            wait_seconds=entry.wait_seconds or 0.0,
            encode_seconds=message.encode_seconds,
            denoise_seconds=message.denoise_seconds,
            decode_seconds=message.decode_seconds,
            total_seconds=self._clock() - entry.admitted_at,
        )

        def answered() -> None:
            if self._ledger.get(entry.number) is entry:
                self._ledger.remove(entry)
                self._observer.finished(self._clock() - entry.admitted_at)

        try:
            memory = take(descriptor)
        except OSError as error:
            self._fail(entry, f"its pixels cannot be mapped: {error}")
            return
        truncated = (message.truncated_tokens, message.negative_truncated_tokens)
        image = RawImage(memory, entry.request, timings, *truncated, on_release=answered)
        self._ledger.finish(entry, image)
        entry.result.set_result(image)

    def _busy(self, seconds: float) -> None:
        self._meter.add(seconds)
        self._observer.busy(seconds)
