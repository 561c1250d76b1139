"""What every exchange has around it: a request id, the end of the connection, a line in the access log. Plain ASGI."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any, cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxpool_inference import contract, request_id
from fluxpool_inference.errors import BodyTimeoutError

PROBES = frozenset({contract.PATH_LIVE, contract.PATH_READY, contract.PATH_METRICS})
DISCARD_BYTES = 16 * 1024 * 1024
DISCARD_SECONDS = 5
"""So much of an unread body is read and thrown away before an early answer (503, 413, 404): to close a socket with
unread bytes resets the connection, and the client then never sees the answer."""

_CLIENTS_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_FACTS = "fluxpool.facts"

logger = logging.getLogger("fluxpool.access")


def facts(request: Request) -> MutableMapping[str, object]:
    """What a handler adds to the request's line in the access log. Never a prompt."""
    return cast("MutableMapping[str, object]", request.scope[_FACTS])


class RequestContext:
    """Wraps an app. While `ends_connection` says so, replies under /v1/ end their connection, errors too.

    kube-proxy balances connections: only a client that connects anew for each request finds a replica that has room,
    or another one where this one drains. Requests are logged at INFO, probes and scrapes at DEBUG.
    """

    def __init__(self, app: ASGIApp, *, ends_connection: Callable[[], bool]) -> None:
        self._app = app
        self._ends_connection = ends_connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with the headers added, and log."""
        exchange = _Exchange(scope, receive, send, self._ends_connection)
        began = time.monotonic()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.log(time.monotonic() - began)


class _Exchange:
    """One request and its reply as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, ends_connection: Callable[[], bool]) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._ends_connection = ends_connection
        self._status = 500
        self._sent_bytes = 0
        self._facts: dict[str, Any] = {}
        scope[_FACTS] = self._facts
        headers = Headers(scope=scope)
        given = headers.get(request_id.HEADER, "")
        self._id = given if _CLIENTS_ID.fullmatch(given) else request_id.new()
        has_body = "content-length" in headers or "transfer-encoding" in headers
        # A client that expects 100 Continue has not sent its body yet, and need not.
        self._body_pending = has_body and "expect" not in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_pending = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._status != BodyTimeoutError.status:  # a client that was too slow is not waited for once more
                await self._discard_body()
            headers = MutableHeaders(scope=message)
            headers[request_id.HEADER] = self._id
            if self._scope["path"].startswith("/v1/") and self._ends_connection():
                headers["connection"] = "close"
        else:
            self._sent_bytes += len(message.get("body", b""))
        await self._send(message)

    async def _discard_body(self) -> None:
        discarded = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while self._body_pending and discarded < DISCARD_BYTES:
                    discarded += len((await self.receive()).get("body", b""))

    def log(self, duration_seconds: float) -> None:
        client = self._scope.get("client")
        fields = {
            "request_id": self._id,
            "method": self._scope["method"][:20],
            "path": self._scope["raw_path"][:200].decode("ascii"),
            "status": self._status,
            "duration_seconds": round(duration_seconds, 4),
            "sent_bytes": self._sent_bytes,
            "client": client[0] if client else None,
            **self._facts,
        }
        level = logging.DEBUG if self._scope["path"] in PROBES else logging.INFO
        logger.log(level, "request", extra={"fields": fields})
