"""The listening sockets and the uvicorn servers on them, all on one event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from fluxpool_inference.engine import StartError, StartFailure

KEEP_ALIVE_SECONDS = 75
"""Idle connections are kept so long: longer than a scrape interval, and than most proxies keep theirs."""


class _Server(uvicorn.Server):
    """A uvicorn server whose process handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone: a signal first drains, and only then closes the servers."""
        yield


class Servers:
    """Serves apps on ports from `start` to `close` or `abort`."""

    def __init__(self) -> None:
        self._servers: list[tuple[_Server, socket.socket]] = []
        self._serving: list[asyncio.Task[None]] = []

    def listen(self, app: ASGIApp, host: str, port: int) -> str:
        """Take the port (0: any free one) and return `address:port`. Raises StartError if it cannot be had."""
        try:
            bound = _bind(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(
                StartFailure.INVALID_CONFIGURATION, f"Cannot listen on host {host}, port {port}: {reason}."
            ) from None
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._servers.append((_Server(config), bound))
        address, actual_port = bound.getsockname()[:2]
        return f"[{address}]:{actual_port}" if ":" in address else f"{address}:{actual_port}"

    def start(self) -> None:
        """Begin to accept."""
        self._serving = [asyncio.create_task(server.serve([bound])) for server, bound in self._servers]

    async def close(self) -> None:
        """Accept no more, let every exchange that has begun end, its last byte sent, and return then."""
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._serving)

    async def abort(self) -> None:
        """Drop everything. Harmless after `close`."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for _, bound in self._servers:
            bound.close()


def _bind(host: str, port: int) -> socket.socket:
    if ":" in host:
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=host == "::")
    return socket.create_server((host, port))
