"""What stands before Prometheus and can go wrong: the operator asks here, and gets the real answers or spoilt ones."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientError, ClientSession, web

FRONT_PORT = 19091
SCRAPED_AT = "fluxpool_scraped_at_seconds"
"""What the operator calls the time of a pod's newest scrape in the answer to its query."""

PoolId = tuple[str, str]
Answer = Callable[[], web.Response]
Series = dict[str, Any]


class Front:
    """See the module.

    Attributes:
        answer: what is said to every query in place of Prometheus' answer; None: that.
        without: pools of which Prometheus has no series.
        old: pools of which Prometheus has only series of a minute ago.
    """

    def __init__(self, session: ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream
        self.answer: Answer | None = None
        self.without: set[PoolId] = set()
        self.old: set[PoolId] = set()

    async def query(self, request: web.Request) -> web.Response:
        """`POST /api/v1/query`."""
        if self.answer is not None:
            return self.answer()
        try:
            async with self._session.post(self._upstream + request.path, data=await request.post()) as answer:
                body = await answer.json()
        except ClientError:
            assert request.transport is not None
            request.transport.abort()  # as a server that is gone: no answer at all
            raise
        if body["status"] == "success":
            body["data"]["result"] = [
                self._aged(one) for one in body["data"]["result"] if _pool(one) not in self.without
            ]
        return web.json_response(body, status=answer.status)

    def _aged(self, series: Series) -> Series:
        if _pool(series) in self.old and series["metric"].get("__name__") == SCRAPED_AT:
            at, value = series["value"]
            series["value"] = [at, str(float(value) - 60)]
        return series


def _pool(series: Series) -> PoolId:
    labels = series["metric"]
    return labels.get("fluxpool_namespace", ""), labels.get("fluxpool_pool", "")


def fails() -> web.Response:
    """A server that has broken down."""
    return web.Response(status=500, text="out of memory")


def asks_for_a_token() -> web.Response:
    """A proxy in front of Prometheus that does not know us."""
    return web.Response(status=401, text="who are you?")


def knows_nothing() -> web.Response:
    """A Prometheus that has just been set up, or scrapes something else."""
    empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
    return web.Response(text=json.dumps(empty), content_type="application/json")


@asynccontextmanager
async def front(upstream: str) -> AsyncIterator[Front]:
    """Listen on FRONT_PORT."""
    async with ClientSession() as session:
        made = Front(session, upstream)
        app = web.Application()
        app.add_routes([web.post("/api/v1/query", made.query)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", FRONT_PORT).start()
        try:
            yield made
        finally:
            await runner.cleanup()
