"""A web server that answers as scripted and remembers what it was asked: the other end of the real client."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from fluxpool_operator.cluster import Cluster


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    content: str
    accept: str
    authorization: str
    body: Any


@dataclass
class ApiServer:
    answers: list[tuple[int, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    counted: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                request.headers.get("Content-Type", ""),
                request.headers.get("Accept", ""),
                request.headers.get("Authorization", ""),
                json.loads(body) if body else None,
            )
        )
        code, answer = self.answers.pop(0)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return web.Response(status=code, text=text, headers=self.headers)


@asynccontextmanager
async def running(*answers: tuple[int, Any]) -> AsyncIterator[tuple[ApiServer, Cluster]]:
    """The server, and a client of it."""
    api = ApiServer(list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    server = TestServer(app)
    await server.start_server()
    api.url = str(server.make_url("")).rstrip("/")
    configuration = Configuration(host=api.url)
    configuration.api_key["BearerToken"] = "Bearer secret"
    async with Cluster(configuration, lambda *write: api.counted.append(write)) as cluster:
        yield api, cluster
    await server.close()
