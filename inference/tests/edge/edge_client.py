"""The edge over an in-memory engine, and a client of it: no torch, no process."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from in_memory_engine import InMemoryEngine
from prometheus_client.parser import text_string_to_metric_families

from fluxpool_inference.core import Core, build_core
from fluxpool_inference.edge import Edge, build_edge
from fluxpool_inference.servers import Servers
from fluxpool_inference.settings import ServeSettings

URL = "/v1/images/generations"
ADMIN_TOKEN = "correct horse"
IDENTITY = {"fluxpool_namespace": "art", "fluxpool_pool": "studio", "fluxpool_pod_uid": "uid-1"}


@dataclass
class Client:
    """One server's parts, and clients of its two apps."""

    core: Core
    edge: Edge
    engine: InMemoryEngine
    api: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def generate(self, **body: object) -> httpx.Response:
        content = json.dumps({"prompt": "a tree", "size": "64x64", **body})
        headers = {"content-type": "application/json"}
        return await self.api.post(URL, content=content, headers=headers)

    async def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample of /metrics by name and labels, but for the identity labels."""
        text = (await self.api.get("/metrics")).text
        return {
            (sample.name, frozenset(sample.labels.items() - IDENTITY.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float:
        return (await self.samples())[name, frozenset(labels.items())]


def settings(**options: object) -> ServeSettings:
    defaults: dict[str, object] = {
        "model": "acme/flux",
        "default_size": "128x128",
        "min_side": 64,
        "max_pixels": 512 * 512,
        "admin_token": ADMIN_TOKEN,
        "host": "127.0.0.1",
        **{name.removeprefix("fluxpool_"): value for name, value in IDENTITY.items()},
    }
    return ServeSettings.model_validate(defaults | options)


async def make_client(**options: object) -> Client:
    wanted = settings(**options)
    core = build_core(wanted, InMemoryEngine)
    edge = build_edge(wanted, core)
    assert isinstance(core.engine, InMemoryEngine)
    assert edge.admin is not None
    await core.engine.start()
    return Client(
        core,
        edge,
        core.engine,
        httpx.AsyncClient(transport=httpx.ASGITransport(edge.api, raise_app_exceptions=False), base_url="http://pool"),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(edge.admin, raise_app_exceptions=False),
            base_url="http://pool",
            headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        ),
    )


@contextlib.asynccontextmanager
async def listening(client: Client) -> AsyncIterator[str]:
    """The client's API on a real socket; gives its URL."""
    servers = Servers()
    address = servers.listen(client.edge.api, "127.0.0.1", 0)
    servers.start()
    try:
        yield f"http://{address}"
    finally:
        await servers.close()


def error(response: httpx.Response, status: int) -> dict[str, str | None]:
    """The error object, after checks of what holds for every error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"].endswith((".", "?"))
    return body["error"]
