"""The life of the server process: listen, load, serve, drain, end.

    listen on both ports ─► start the engine ─► serve ─► SIGTERM: unready, refuse, finish ─► exit 0
                             └ StartError: termination message, exit 3   └ a second signal: end now, exit 128 + signal

The ports are open before the model is loaded, so probes are answered from the first moment. Everything here runs on one
event loop; the device is another process's.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine

from fluxpool_inference import contract, log, termination
from fluxpool_inference.encode import Encoder
from fluxpool_inference.engine import Engine, StartError, StartFailure
from fluxpool_inference.http.admin import Admin, token_from_file
from fluxpool_inference.http.apps import admin_app, api_app
from fluxpool_inference.http.generation import Bounds
from fluxpool_inference.http.health import Health
from fluxpool_inference.http.images import Images
from fluxpool_inference.http.models import Models
from fluxpool_inference.metrics import Metrics
from fluxpool_inference.readiness import Readiness
from fluxpool_inference.servers import Servers
from fluxpool_inference.settings import ServeSettings
from fluxpool_inference.version import VERSION

UNFINISHED_EXIT_CODE = 1

logger = logging.getLogger(__name__)


def serve(settings: ServeSettings) -> int:
    """Serve until a signal ends it; return the exit code. Leaves a termination message if it cannot start."""
    log.configure(settings.log_format, settings.log_level)
    try:
        return asyncio.run(_run(settings))
    except StartError as error:
        logger.error("cannot start: %s: %s", error.reason, error.message)  # noqa: TRY400 - a sentence for its reader
        termination.write(settings.termination_log, error)
        return contract.START_ERROR_EXIT_CODE


async def _run(settings: ServeSettings) -> int:
    return await _Service(settings).run()


class _Service:
    """The parts of one server, made from its settings, and the order in which they begin and end."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._metrics = Metrics(
            namespace=settings.namespace,
            pool=settings.pool,
            pod_uid=settings.pod_uid,
            batch_size_max=settings.batch_size_max,
        )
        self._engine = Engine(settings.engine_config(), self._metrics)
        self._readiness = Readiness(self._engine.status)
        self._metrics.watch(self._engine.status, self._readiness)
        self._encoder = Encoder(settings.encoder_threads)
        self._servers = Servers()
        self._ending = asyncio.Event()
        self._aborting = asyncio.Event()
        self._signal = 0

    async def run(self) -> int:
        """Live; return the exit code. Raises StartError."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        try:
            self._listen()
            self._servers.start()
            if not await _first(self._engine.start(), self._ending):
                return 0
            logger.info("ready")
            await self._ending.wait()
            return await self._drain()
        finally:
            await self._servers.abort()
            self._encoder.close()
            await self._engine.stop()

    def _on_signal(self, number: int) -> None:
        if self._ending.is_set():
            self._aborting.set()
        self._signal = number
        self._readiness.start_draining()
        self._ending.set()

    async def _drain(self) -> int:
        logger.info("draining")
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                finished = await _first(self._finish(), self._aborting)
        except TimeoutError:
            logger.error("drain_seconds have passed; what is not answered is dropped")  # noqa: TRY400 - not a bug
            return UNFINISHED_EXIT_CODE
        if not finished:
            logger.error("a second signal; what is not answered is dropped")
            return 128 + self._signal
        logger.info("drained")
        return 0

    async def _finish(self) -> None:
        await self._engine.drain()
        await self._servers.close()

    def _listen(self) -> None:
        settings = self._settings
        app = api_app(
            Images(
                self._engine,
                self._encoder,
                self._metrics,
                self._readiness,
                bounds=_bounds(settings),
                max_body_bytes=settings.max_body_bytes,
            ),
            Models(settings.model_names),
            Health(self._readiness, self._metrics),
            connection_close=settings.connection_close,
        )
        addresses = {"http": self._servers.listen(app, settings.host, settings.port)}
        token = _admin_token(settings)
        if token:
            admin = admin_app(Admin(self._engine, self._readiness, settings.model), token)
            addresses["admin"] = self._servers.listen(admin, settings.host, settings.admin_port)
        logger.info("listening", extra={"fields": {**addresses, "model": settings.model, "version": VERSION}})
        if settings.gpu_count > 1:
            logger.warning("gpu_count is %d, and this version uses the first device only", settings.gpu_count)


def _bounds(settings: ServeSettings) -> Bounds:
    return Bounds(
        model_names=settings.model_names,
        max_steps=settings.max_steps,
        max_images=settings.max_images,
        min_side=settings.min_side,
        max_pixels=settings.max_pixels,
        default_size=settings.default_size,
        image_formats=settings.image_formats,
        max_prompt_chars=settings.max_prompt_chars,
    )


def _admin_token(settings: ServeSettings) -> Callable[[], str] | None:
    """Where the admin token comes from; None closes the admin port. Raises StartError for a file without one."""
    if settings.admin_token:
        value = settings.admin_token.get_secret_value()
        return lambda: value
    if settings.admin_token_file:
        read = token_from_file(settings.admin_token_file)
        if not read():
            raise StartError(
                StartFailure.INVALID_CONFIGURATION, f"admin_token_file: {settings.admin_token_file} holds no token."
            )
        return read
    return None


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
