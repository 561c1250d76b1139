"""Keeps a worker running: starts it, and starts it again when it dies.

    STARTING ──Ready──▶ READY ──died──▶ RESTARTING ──Ready──▶ READY
        │                                   │ after several deaths in a row
        ▼ NotStarted, or died               ▼
     StartError                          STOPPED: `on_given_up`, and the container should be restarted

Deaths in a row are those without a finished image between them; each waits twice as long as the one before.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fluxpool_inference.engine.process import WorkerProcess
from fluxpool_inference.engine.types import WorkerState, WorkerStatus
from fluxpool_inference.ipc.messages import FromWorker, NotStarted, Ready, ToWorker
from fluxpool_inference.ipc.peer import OnMessage
from fluxpool_inference.values import EngineConfig, StartError, StartFailure

logger = logging.getLogger(__name__)

DEATHS_IN_A_ROW = 5
_BACKOFF_SECONDS = 0.5
_LONGEST_BACKOFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Events:
    """What a supervisor tells.

    Attributes:
        on_message: Each message of the worker but those about its start.
        on_restarted: A worker serves in place of one that died.
        on_lost: A worker that served died, and why; all that it had is gone.
        on_given_up: No worker will come any more, and why.
    """

    on_message: OnMessage
    on_restarted: Callable[[Ready], None]
    on_lost: Callable[[str], None]
    on_given_up: Callable[[str], None]


class Supervisor:
    """One worker, as long as the engine lives. `config` is asked anew for each process."""

    def __init__(self, index: int, config: Callable[[], EngineConfig], events: Events) -> None:
        self._index = index
        self._config = config
        self._events = events
        self._state = WorkerState.STARTING
        self._worker: WorkerProcess | None = None
        self._device: str | None = None
        self._deaths = 0
        self._restarting: asyncio.Task[None] | None = None

    @property
    def status(self) -> WorkerStatus:
        """For `/admin/status`."""
        return WorkerStatus(self._index, self._state, self._worker.pid if self._worker else None, self._device)

    async def start(self) -> Ready:
        """Start the first process and wait until it serves. Raises StartError."""
        return await self._launch()

    async def stop(self) -> None:
        """End the process, and start no other. Idempotent."""
        self._state = WorkerState.STOPPED
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self._end_process()

    def send(self, message: ToWorker) -> None:
        """Send to the present process; lost if there is none, of which `on_lost` was told."""
        if self._worker is not None:
            self._worker.send(message)

    def finished_an_image(self) -> None:
        """The worker is well: the next death is the first in a row."""
        self._deaths = 0

    async def _launch(self) -> Ready:
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        try:
            self._worker = await WorkerProcess.spawn(
                self._config, partial(self._on_message, ready), partial(self._on_exit, ready)
            )
        except OSError as error:
            raise StartError(StartFailure.DEVICE_UNAVAILABLE, f"no worker process can be made: {error}") from error
        try:
            started = await ready
        except BaseException:
            await self._end_process()
            raise
        self._state = WorkerState.READY
        self._device = started.model.device
        return started

    async def _end_process(self) -> None:
        if self._worker is not None:
            await self._worker.stop()
            self._worker = None  # strictly after: if this is cancelled, `stop` ends the process

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
        elif self._state is WorkerState.READY:
            self._state = WorkerState.RESTARTING
            logger.error("worker %d died: %s", self._index, why)
            self._events.on_lost(why)
            self._restarting = asyncio.create_task(self._restart(why))

    async def _restart(self, why: str) -> None:
        while True:
            await self._end_process()
            self._deaths += 1
            if self._deaths >= DEATHS_IN_A_ROW:
                self._state = WorkerState.STOPPED
                self._events.on_given_up(why)
                return
            await asyncio.sleep(_backoff_seconds(self._deaths))
            try:
                ready = await self._launch()
            except StartError as error:
                why = error.message
                logger.error("worker %d does not start again: %s", self._index, why)  # noqa: TRY400 - a sentence
                continue
            logger.info("worker %d serves again", self._index)
            self._events.on_restarted(ready)
            return


def _backoff_seconds(deaths: int) -> float:
    """None after the first death of a row."""
    return 0.0 if deaths == 1 else min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2.0 ** (deaths - 1))
