import re
from dataclasses import replace

from edge_client import Client, make_client

from fluxpool_inference.engine import WorkerState
from fluxpool_inference.readiness import Readiness


async def test_a_loaded_engine_is_alive_and_ready(client: Client) -> None:
    assert (await client.api.get("/healthz")).json() == {"status": "alive"}
    assert (await client.api.get("/readyz")).json() == {"status": "ready"}
    assert (await client.api.head("/readyz")).status_code == 200


async def test_while_loading_it_is_alive_not_ready_and_refuses_requests(client: Client) -> None:
    client.engine.worker_state = WorkerState.STARTING
    assert (await client.api.get("/healthz")).status_code == 200
    ready = await client.api.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "not_ready"
    assert re.search(r"being loaded and warmed, for \d+ s so far", ready.json()["message"])
    refused = await client.generate()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "not_ready"
    assert refused.headers["retry-after"] == "5"
    assert await client.value("fluxpool_rejected_total", reason="not_ready") == 1


async def test_while_the_worker_is_started_again_it_is_alive_and_not_ready(client: Client) -> None:
    client.engine.worker_state = WorkerState.RESTARTING
    assert (await client.api.get("/healthz")).status_code == 200
    assert "started again" in (await client.api.get("/readyz")).json()["message"]


async def test_without_a_worker_it_is_dead(client: Client) -> None:
    client.engine.worker_state = WorkerState.STOPPED
    assert (await client.api.get("/healthz")).status_code == 503


async def test_while_one_worker_of_several_is_left_it_lives(client: Client) -> None:
    status = client.engine.status()
    (worker,) = status.workers
    given_up = replace(worker, state=WorkerState.STOPPED)
    assert Readiness(lambda: replace(status, workers=(given_up, worker))).alive()
    assert not Readiness(lambda: replace(status, workers=(given_up, given_up))).alive()


async def test_a_draining_server_is_unready_at_once_and_refuses_requests() -> None:
    client = await make_client()
    client.core.readiness.start_draining()
    assert (await client.api.get("/healthz")).status_code == 200
    assert (await client.api.get("/readyz")).json()["status"] == "draining"
    refused = await client.generate()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "draining"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["connection"] == "close"
    assert await client.value("fluxpool_rejected_total", reason="draining") == 1
    assert await client.value("fluxpool_ready") == 0
