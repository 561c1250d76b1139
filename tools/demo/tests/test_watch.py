"""A watch against an HTTP server that ends its streams, goes away, and comes back with other objects."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from fluxpool_demo import kube
from fluxpool_demo.kube import Kube, Object


def pod(name: str) -> Object:
    return {"metadata": {"uid": f"uid-{name}", "name": name}}


class ApiServer:
    """Answers each list with the next of `lists`, and each watch with the next of `streams`; None: it is away."""

    def __init__(self, lists: list[list[str] | None], streams: list[list[tuple[str, str]] | None]) -> None:
        self._lists, self._streams = iter(lists), iter(streams)

    async def pods(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            names = next(self._lists)
            if names is None:
                return self._goes_away(request)
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": [pod(name) for name in names]})
        events = next(self._streams)
        if events is None:
            return self._goes_away(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for verb, name in events:
            await response.write(json.dumps({"type": verb, "object": pod(name)}).encode() + b"\n")
        return response

    def _goes_away(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def served(server: ApiServer) -> AsyncIterator[Kube]:
    app = web.Application()
    app.add_routes([web.get("/api/v1/namespaces/demo/pods", server.pods)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = ApiClient(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    try:
        yield Kube(client)
    finally:
        await client.close()  # type: ignore[no-untyped-call]
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "RETRY_SECONDS", 0.01)


async def told(server: ApiServer, count: int) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []
    async with served(server) as api:
        events = api.watch("Pod", "demo")
        async for verb, item in events:
            heard.append((verb, item["metadata"]["name"]))
            if len(heard) == count:
                await events.aclose()  # type: ignore[attr-defined]
                break
    return heard


async def test_what_is_there_then_every_change() -> None:
    server = ApiServer([["a"]], [[("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]])
    assert await told(server, 4) == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_what_went_away_between_two_streams_is_told_of_and_nothing_is_added_twice() -> None:
    server = ApiServer([["a", "b"], ["b", "c"], ["c"]], [[("ADDED", "d"), ("DELETED", "a")], [], []])
    heard = await told(server, 9)
    assert heard[:4] == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "d"), ("DELETED", "a")]
    assert heard[4:7] == [("DELETED", "d"), ("MODIFIED", "b"), ("ADDED", "c")]
    assert heard[7:] == [("DELETED", "b"), ("MODIFIED", "c")]


async def test_an_api_server_that_is_away_is_asked_again() -> None:
    server = ApiServer([["a"], None, None, ["b"]], [None, []])
    assert await told(server, 3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]
