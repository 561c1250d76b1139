"""Health, readiness and the HTTP port."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer, unused_port

from fluxpool_operator.errors import SettingsError
from fluxpool_operator.health import Health, Heartbeat, listen, make_app
from fluxpool_operator.metrics import Metrics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def client(health: Health) -> AsyncIterator[TestClient]:
    async with TestClient(TestServer(make_app(health, Metrics("1.2.3")))) as client:
        yield client


async def get(client: TestClient, path: str) -> tuple[int, str]:
    async with client.get(path) as response:
        return response.status, await response.text()


async def test_a_part_that_stands_still_fails_the_liveness_probe(health: Health, client: TestClient) -> None:
    clock = Clock()
    tick, worker = Heartbeat(clock), Heartbeat(clock)
    assert await get(client, "/healthz") == (200, "ok\n")
    health.expect("the scale tick", 60, tick.silence_seconds)
    health.expect("a worker", 300, worker.silence_seconds)
    clock.now = 60
    assert await get(client, "/healthz") == (200, "ok\n")
    clock.now = 61
    assert await get(client, "/healthz") == (503, "the scale tick: no sign of life for 61 s (limit 60 s)\n")
    tick.beat()
    assert await get(client, "/healthz") == (200, "ok\n")


async def test_readiness_says_what_is_awaited(health: Health, client: TestClient) -> None:
    assert await get(client, "/readyz") == (503, "waiting for the start\n")
    health.awaited = "the kind FluxPool is not installed"
    assert await get(client, "/readyz") == (503, "waiting for the kind FluxPool is not installed\n")
    health.awaited = None
    assert await get(client, "/readyz") == (200, "ok\n")


async def test_metrics_are_served_as_prometheus_wants_them(client: TestClient) -> None:
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert 'fluxpool_operator_build_info{version="1.2.3"} 1.0' in await response.text()


async def test_the_port_is_open_on_all_addresses_until_the_end(health: Health) -> None:
    port = unused_port()
    runner = await listen(make_app(health, Metrics("1")), port)
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as response:
        assert response.status == 200
    with pytest.raises(SettingsError, match=f"FLUXPOOL_OPERATOR_HTTP_PORT: port {port} cannot be had"):
        await listen(make_app(health, Metrics("1")), port)
    await runner.cleanup()
