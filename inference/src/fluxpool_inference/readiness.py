"""Whether this server takes requests now, and if not, why: what `/readyz`, `fluxpool_ready` and each 503 say."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fluxpool_inference.engine import EngineStatus, WorkerState


class Refusal(StrEnum):
    """Reasons of `fluxpool_rejected_total` that say nothing about the request."""

    NOT_READY = "not_ready"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Unready:
    """Why not, for programs and for people, and when to ask again."""

    reason: Refusal
    message: str
    retry_after_seconds: float


class Readiness:
    """Combines the engine's state with the process's: a signal makes the server unready before the engine hears."""

    def __init__(self, status: Callable[[], EngineStatus]) -> None:
        self._status = status
        self._began = time.monotonic()
        self._draining = False
        self._dropping = asyncio.Event()

    def start_draining(self) -> None:
        """From now on nothing new is taken."""
        self._draining = True

    @property
    def draining(self) -> bool:
        """Whether `start_draining` was called."""
        return self._draining

    def drop(self) -> None:
        """From now on nothing is finished either."""
        self._dropping.set()

    async def dropped(self) -> Unready:
        """Wait until requests are no longer finished; what those who wait are told then."""
        await self._dropping.wait()
        return Unready(Refusal.DRAINING, "The server had to end before the request was done.", 1)

    def problem(self) -> Unready | None:
        """Why requests are refused now; None if they are taken."""
        status = self._status()
        if self._draining or status.draining:
            return Unready(Refusal.DRAINING, "The server is shutting down; it finishes what it has admitted.", 1)
        if status.ready:
            return None
        if status.model is None:
            seconds = time.monotonic() - self._began
            return Unready(Refusal.NOT_READY, f"The model is being loaded and warmed, for {seconds:.0f} s so far.", 5)
        return Unready(Refusal.NOT_READY, "The worker process is being started again.", 5)

    def alive(self) -> bool:
        """Whether some worker process lives, or is on its way up."""
        return any(worker.state is not WorkerState.STOPPED for worker in self._status().workers)
