"""Is the process alive, and is it of use: the signs of life of its parts, what it still waits for, and the HTTP port.

Each part that must not stand still has a limit of silence; `/healthz` fails once a part has been silent for longer,
and Kubernetes starts the process again. An event loop that is blocked does not answer at all, which is the same.
`/readyz` fails as long as something is awaited, and says what.
"""

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from fluxpool_operator.errors import SettingsError
from fluxpool_operator.metrics import Metrics


class Heartbeat:
    """The time since the last beat of one part."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say that the part is alive."""
        self._last = self._clock()

    def silence_seconds(self) -> float:
        """For how long nothing was heard."""
        return self._clock() - self._last


class Health:
    """Signs of life by part, and the one thing awaited.

    Attributes:
        awaited: what stands between the process and its work, in words; None when it is ready.
    """

    def __init__(self) -> None:
        self.awaited: str | None = "the start"
        self._parts: dict[str, tuple[float, Callable[[], float]]] = {}

    def expect(self, part: str, limit_seconds: float, silence_seconds: Callable[[], float]) -> None:
        """From now on `part` must not be silent for longer than the limit."""
        self._parts[part] = (limit_seconds, silence_seconds)

    def stalled(self) -> list[str]:
        """One sentence per part that has been silent for too long."""
        silences = {part: (limit, silence()) for part, (limit, silence) in self._parts.items()}
        return [
            f"{part}: no sign of life for {silence:.0f} s (limit {limit:.0f} s)"
            for part, (limit, silence) in silences.items()
            if silence > limit
        ]


def make_app(health: Health, metrics: Metrics) -> web.Application:
    """`/healthz`, `/readyz` and `/metrics`."""

    async def live(_request: web.Request) -> web.Response:
        stalled = health.stalled()
        return web.Response(status=503 if stalled else 200, text="\n".join(stalled or ["ok"]) + "\n")

    async def ready(_request: web.Request) -> web.Response:
        awaited = health.awaited
        return web.Response(status=503 if awaited else 200, text=f"waiting for {awaited}\n" if awaited else "ok\n")

    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", live), web.get("/readyz", ready), web.get("/metrics", expose)])
    return app


async def listen(app: web.Application, port: int) -> web.AppRunner:
    """Serve `app` on all addresses of the host until the runner is cleaned up.

    Raises:
        SettingsError: the port cannot be had.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"FLUXPOOL_OPERATOR_HTTP_PORT: port {port} cannot be had: {error.strerror}") from error
    return runner
