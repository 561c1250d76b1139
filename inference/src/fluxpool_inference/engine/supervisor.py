"""Keeps a worker running: starts it, and starts it again when it dies.

                     ┌──`kill`──▶ ENDING ──it stays──▶ STOPPED: `on_given_up`
                     │              │ gone              ▲
    STARTING ──Ready─▶ READY ──died─▶ RESTARTING ────────┘ after several deaths in a row
        │                ▲            │   ▲
        │                └───Ready────┘   │
        ▼ NotStarted, or died             │
     StartError ──────`try_again`─────────┘

A worker is lost as soon as it is known to have died, or to hang and be killed. Another one comes strictly after its
process is gone, or two would share a device; one that is stuck in the kernel does not go, and then none comes.

Deaths in a row are those without a finished image between them; each waits twice as long as the one before. Whether a
start that failed is tried again is for the crew to say: it is not, if no other worker serves.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.engine.process import WorkerProcess
from fluxpool_inference.engine.types import WorkerState
from fluxpool_inference.ipc.messages import FromWorker, NotStarted, Ready, ToWorker
from fluxpool_inference.ipc.peer import OnMessage
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.process_start import started_at

logger = logging.getLogger(__name__)

DEATHS_IN_A_ROW = 5
_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0
_LONGEST_RESTART_SECONDS = 1800.0
"""The weights are on this machine by now, so a start that takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Events:
    """What a supervisor tells.

    Attributes:
        on_message: Each message of the worker but those about its start.
        on_ready: A worker serves: the first, or one in place of one that died.
        on_lost: A worker that served died or hangs, and why; all that it had is gone.
        on_given_up: No worker will come any more, and why.
    """

    on_message: OnMessage
    on_ready: Callable[[Ready], None]
    on_lost: Callable[[str], None]
    on_given_up: Callable[[str], None]


class Supervisor:
    """One worker, as long as the engine lives. `config` is asked anew for each process.

    Attributes:
        state: See `WorkerState`.
        device: Of the last process that was ready; None before.
        deaths: How many processes ended without having been asked to, or did not start.
        problem: Why the last of them did; None if none has.
    """

    def __init__(
        self, index: int, config: Callable[[], EngineConfig], events: Events, environment: Mapping[str, str]
    ) -> None:
        self.state = WorkerState.STARTING
        self.device: str | None = None
        self.deaths = 0
        self.problem: str | None = None
        self._index = index
        self._config = config
        self._events = events
        self._environment = environment
        self._worker: WorkerProcess | None = None
        self._in_a_row = 0
        self._restarting: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the present process."""
        return self._worker.pid if self._worker else None

    async def start(self) -> None:
        """Start the first process and wait until it serves. Raises StartError."""
        try:
            await self._launch(started_at())
        except StartError as error:
            self._note(error.message)
            raise

    def try_again(self) -> None:
        """After a failed `start`: start again, as after a death."""
        self._in_a_row = 1
        self._begin_again(WorkerState.RESTARTING)

    async def stop(self) -> None:
        """End the process, and start no other. Idempotent."""
        self.state = WorkerState.STOPPED
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self._end_process()

    def send(self, message: ToWorker) -> bool:
        """Send to the present process; False if there is none, of which `on_lost` was told or will be."""
        return self._worker is not None and self._worker.send(message)

    def finished_an_image(self) -> None:
        """The worker is well: the next death is the first in a row."""
        self._in_a_row = 0

    def kill(self, why: str) -> None:
        """End the present process in whatever it does, if it serves: it is lost from now on, for this reason."""
        if self._worker is not None and self.state is WorkerState.READY:
            self._worker.kill()
            self._lose(WorkerState.ENDING, why)

    async def _launch(self, since: float, longest_seconds: float | None = None) -> None:
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        try:
            self._worker = await WorkerProcess.spawn(
                self._config, since, partial(self._on_message, ready), partial(self._on_exit, ready), self._environment
            )
        except OSError as error:
            raise StartError(StartFailure.DEVICE_UNAVAILABLE, f"no worker process can be made: {error}") from error
        try:
            async with asyncio.timeout(longest_seconds):
                started = await ready
        except BaseException as error:
            await self._end_process()
            if isinstance(error, TimeoutError):
                message = f"the worker was not ready within {longest_seconds:g} s"
                raise StartError(StartFailure.MODEL_LOAD_FAILED, message) from None
            raise
        self.state = WorkerState.READY
        self.device = started.model.device.replace("cuda:0", f"cuda:{self._index}")  # it sees no other
        try:
            self._events.on_ready(started)
        except BaseException:  # a worker that nobody can work with must not count as one that serves
            self.state = WorkerState.STOPPED
            await self._end_process()
            raise

    async def _end_process(self) -> bool:
        """Whether there is none any more."""
        if self._worker is not None and await self._worker.stop():
            self._worker = None  # strictly after: if this is cancelled, `stop` ends the process
        return self._worker is None

    def _on_message(self, ready: "asyncio.Future[Ready]", message: FromWorker, descriptor: int | None) -> None:
        match message:
            case Ready():
                if not ready.done():
                    ready.set_result(message)
            case NotStarted():
                if not ready.done():
                    ready.set_exception(StartError(message.reason, message.message))
            case _:
                self._events.on_message(message, descriptor)

    def _on_exit(self, ready: "asyncio.Future[Ready]", why: str) -> None:
        if not ready.done():
            ready.set_exception(
                StartError(StartFailure.MODEL_LOAD_FAILED, f"the worker ended while it loaded the model: {why}")
            )
        elif self.state is WorkerState.READY:
            self._lose(WorkerState.RESTARTING, why)

    def _lose(self, state: WorkerState, why: str) -> None:
        self._note(why)
        self._in_a_row += 1
        self._begin_again(state)
        logger.error("worker %d died: %s", self._index, why)
        self._events.on_lost(why)

    def _begin_again(self, state: WorkerState) -> None:
        self.state = state
        self._restarting = asyncio.create_task(self._restart())

    def _note(self, problem: str) -> None:
        self.deaths += 1
        self.problem = problem

    async def _restart(self) -> None:
        while True:
            gone = await self._end_process()
            if not gone:
                self.problem = f"{self.problem}; its process cannot be ended"
            if not gone or self._in_a_row >= DEATHS_IN_A_ROW:
                self.state = WorkerState.STOPPED
                self._events.on_given_up(self.problem or "")
                return
            self.state = WorkerState.RESTARTING
            await asyncio.sleep(_backoff_seconds(self._in_a_row))
            try:
                await self._launch(time.monotonic(), _LONGEST_RESTART_SECONDS)
            except StartError as error:
                self._note(error.message)
                self._in_a_row += 1
                logger.error("worker %d does not start: %s", self._index, error.message)  # noqa: TRY400 - a sentence
                continue
            logger.info("worker %d serves again", self._index)
            return


def _backoff_seconds(deaths: int) -> float:
    """None after the first death of a row."""
    return 0.0 if deaths == 1 else min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2.0 ** (deaths - 1))
