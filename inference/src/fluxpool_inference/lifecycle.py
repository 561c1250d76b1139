"""The life of the server process: listen, load, serve, drain, end.

    start the engine, listen on both ports ─► serve ─► SIGTERM: unready, refuse, finish ─► exit 0
     └ StartError: termination message, exit 3          └ a second signal: end now, exit 128 + signal

The worker's process begins to import its libraries, which takes seconds, before this one imports those of HTTP. The
ports are open long before the model is loaded, so probes are answered from early on. Everything here runs on one event
loop; the device is another process's.
"""

import asyncio
import contextlib
import importlib
import logging
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from fluxpool_inference import contract, log, termination
from fluxpool_inference.core import Core, EngineFactory, build_core
from fluxpool_inference.engine import Engine, StartError
from fluxpool_inference.settings import ServeSettings
from fluxpool_inference.version import VERSION

if TYPE_CHECKING:
    from fluxpool_inference.edge import Edge

UNFINISHED_EXIT_CODE = 1
DROP_SECONDS = 1.0
"""So long is waited for clients to take the news that they waited in vain."""

logger = logging.getLogger(__name__)


def serve(settings: ServeSettings, make_engine: EngineFactory = Engine) -> int:
    """Serve until a signal ends it; return the exit code. Leaves a termination message if it cannot start."""
    log.configure(settings.log_format, settings.log_level)
    try:
        return asyncio.run(_run(settings, make_engine))
    except StartError as error:
        logger.error("cannot start: %s: %s", error.reason, error.message)  # noqa: TRY400 - a sentence for its reader
        termination.write(settings.termination_log, error)
        return contract.START_ERROR_EXIT_CODE


async def _run(settings: ServeSettings, make_engine: EngineFactory) -> int:
    return await _Service(settings, build_core(settings, make_engine)).run()


class _Service:
    """One server, and the order in which its parts begin and end."""

    def __init__(self, settings: ServeSettings, core: Core) -> None:
        self._settings = settings
        self._core = core
        self._edge: Edge | None = None
        self._ending = asyncio.Event()
        self._aborting = asyncio.Event()
        self._signal = 0

    async def run(self) -> int:
        """Live; return the exit code. Raises StartError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        try:
            if not await _first(self._start(), self._ending):
                return 0
            logger.info("ready")
            await self._ending.wait()
            return await self._drain(self._listening())
        finally:
            if self._edge:
                await self._edge.servers.abort()
                self._edge.encoder.close()
            await self._core.engine.stop()

    def _listening(self) -> "Edge":
        if self._edge is None:
            raise RuntimeError("nothing listens yet")
        return self._edge

    async def _start(self) -> None:
        loading = asyncio.create_task(self._core.engine.start())
        try:
            await asyncio.to_thread(importlib.import_module, "fluxpool_inference.edge")
            self._listen()
            await loading
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    def _listen(self) -> None:
        from fluxpool_inference.edge import build_edge  # noqa: PLC0415 - not before the worker's process is there

        settings, edge = self._settings, build_edge(self._settings, self._core)
        self._edge = edge
        addresses = {"http": edge.servers.listen(edge.api, settings.host, settings.port)}
        if edge.admin:
            addresses["admin"] = edge.servers.listen(edge.admin, settings.host, settings.admin_port)
        edge.servers.start()
        logger.info("listening", extra={"fields": {**addresses, "model": settings.model, "version": VERSION}})

    def _on_signal(self, number: int) -> None:
        if self._ending.is_set():
            self._aborting.set()
        self._signal = number
        self._core.readiness.start_draining()
        self._ending.set()

    async def _drain(self, edge: "Edge") -> int:
        logger.info("draining")
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                finished = await _first(self._finish(edge), self._aborting)
        except TimeoutError:
            logger.error("drain_seconds have passed; what is not answered is dropped")  # noqa: TRY400 - not a bug
            await self._drop(edge)
            return UNFINISHED_EXIT_CODE
        if not finished:
            logger.error("a second signal; what is not answered is dropped")
            await self._drop(edge)
            return 128 + self._signal
        logger.info("drained")
        return 0

    async def _drop(self, edge: "Edge") -> None:
        self._core.readiness.drop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DROP_SECONDS):
                await edge.servers.close()

    async def _finish(self, edge: "Edge") -> None:
        await self._core.engine.drain()
        await edge.servers.close()


async def _first(work: Coroutine[object, object, None], event: asyncio.Event) -> bool:
    """Whether `work` was done before `event` was set; else it is cancelled. Raises what `work` raises."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
