"""The listening sockets and the uvicorn servers on them, all on one event loop."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Iterator

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from fluxpool_inference import request_id
from fluxpool_inference.engine import StartError, StartFailure
from fluxpool_inference.errors import InvalidRequestError

KEEP_ALIVE_SECONDS = 75
"""Idle connections are kept so long: longer than a scrape interval, and than most proxies keep theirs."""
SEND_STALL_SECONDS = 60.0
"""A client that takes nothing of its answer for so long is cut off: it holds memory, and a drain waits for it."""

ABORT_SECONDS = 1.0
"""So long may the handlers of dropped connections take to notice."""

logger = logging.getLogger("fluxpool.access")


class _Protocol(H11Protocol):
    """Hangs up on a client that does not send a request's head, for which uvicorn would wait without end.

    What is no HTTP at all, which no app ever sees, is answered in the form of all other errors.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is due from now on."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """A head that has begun is due, until a request is in progress; more bytes do not put it off."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        super().connection_lost(exc)
        self._forget_head()

    def send_400_response(self, msg: str) -> None:
        """Answer, and hang up."""
        name = request_id.new()
        body = json.dumps(InvalidRequestError(msg, code="invalid_http").body()).encode("ascii")
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            (request_id.HEADER, name),
            ("connection", "close"),
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        client = self.client[0] if self.client else None
        logger.info("no request", extra={"fields": {"request_id": name, "status": 400, "client": client}})

    def _watch_head(self) -> None:
        begun = self.cycle is not None  # uvicorn's type does not say that there is none before the first request
        in_progress = begun and not self.cycle.response_complete
        if in_progress or self.transport.is_closing():
            self._forget_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(KEEP_ALIVE_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


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
            http=_Protocol,
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
        await asyncio.wait(self._serving)  # unlike gather, it lets them go on if it is cancelled

    async def abort(self) -> None:
        """Drop everything. Harmless after `close`."""
        for task in self._serving:
            task.cancel()
        ending = set(self._serving)
        for server, bound in self._servers:
            bound.close()
            ending |= server.server_state.tasks
            for connection in server.server_state.connections:
                connection.transport.abort()
        if ending:
            await asyncio.wait(ending, timeout=ABORT_SECONDS)


def _bind(host: str, port: int) -> socket.socket:
    if ":" in host:
        bound = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=host == "::")
    else:
        bound = socket.create_server((host, port))
    # Accepted sockets inherit these. The kernel counts: a write that uvicorn waits for has no timeout of its own.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(SEND_STALL_SECONDS * 1000))
    # asyncio sets this on sockets that say they are TCP, which those of `create_server` do not: without it a body waits
    # for the client to acknowledge the head, which clients put off for 40 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
