from pathlib import Path

import httpx
import pytest
from edge_client import ADMIN_TOKEN, Client, make_client

from fluxpool_inference.core import build_core
from fluxpool_inference.edge import build_edge
from fluxpool_inference.engine import BucketCost, GraphTiming, Pace, StartError, WorkerMemory
from fluxpool_inference.settings import ServeSettings


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {ADMIN_TOKEN}", ADMIN_TOKEN, f"Bearer {ADMIN_TOKEN}x"],
)
@pytest.mark.parametrize("path", ["/admin/status", "/admin/batch-size", "/nothing"])
async def test_without_the_token_everything_is_a_401(client: Client, authorization: str | None, path: str) -> None:
    headers = {"authorization": authorization} if authorization is not None else {"authorization": ""}
    response = await client.admin.request("GET", path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert ADMIN_TOKEN not in response.text


async def test_the_api_port_serves_no_admin_path_and_the_admin_port_no_api(client: Client) -> None:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    assert (await client.api.get("/admin/status", headers=headers)).status_code == 404
    assert (await client.admin.get("/metrics")).status_code == 404


async def test_the_status_is_that_of_the_contract(client: Client) -> None:
    client.engine.predicted_buckets = (BucketCost(128, 64, 0.05, 0.04),)
    client.engine.worker_deaths = 1
    response = await client.admin.get("/admin/status")
    assert response.status_code == 200
    status = response.json()
    assert status.pop("version")
    assert status == {
        "model": "acme/flux",
        "batch_size": 8,
        "batch_size_min": 1,
        "batch_size_max": 64,
        "waiting": 0,
        "running": 0,
        "queued_work_seconds": 0,
        "running_work_seconds": 0,
        "warm_buckets": [{"width": 64, "height": 64, "step_seconds": {"fixed": 0.05, "per_row": 0.02}}],
        "predicted_buckets": [{"width": 128, "height": 64, "step_seconds": {"fixed": 0.05, "per_row": 0.04}}],
        "draining": False,
        "ready": True,
        "runtime": {
            "attention": "native",
            "quantize": "none",
            "compile": "off",
            "cuda_graphs": "off",
            "offload": "none",
            "tf32": False,
            "transformer_bytes": 0,
        },
        "paced": None,
        "workers": [
            {
                "index": 0,
                "state": "ready",
                "pid": 4711,
                "device": "cpu",
                "deaths": 1,
                "problem": "it exited with code 4",
                "in_flight": 0,
                "remaining_work_seconds": 0.0,
                "memory": None,
                "graphs": [],
            }
        ],
    }


async def test_the_status_says_what_memory_holds_and_which_graphs_are_kept(client: Client) -> None:
    client.engine.worker_memory = WorkerMemory(8 * 10**9, 10**7, 0, 10**9, 10**8, 3 * 10**9, 7, 1024 * 1024)
    client.engine.worker_graphs = (
        GraphTiming(1, 1, 0.1, 0.09, kept=True),
        GraphTiming(2, 2, problem="operation not permitted when stream is capturing"),
    )
    (worker,) = (await client.admin.get("/admin/status")).json()["workers"]
    assert worker["memory"] == {
        "room_bytes": 8 * 10**9,
        "in_flight_bytes": 10**7,
        "step_fixed_bytes": 0,
        "step_row_bytes": 10**9,
        "encode_bytes": 10**8,
        "decode_bytes": 3 * 10**9,
        "rows": 7,
        "largest_pixels": 1024 * 1024,
    }
    assert [(graph["rows"], graph["eager_seconds"], graph["kept"]) for graph in worker["graphs"]] == [
        (1, 0.1, True),
        (2, None, False),
    ]
    assert worker["graphs"][1]["problem"] == "operation not permitted when stream is capturing"


async def test_the_status_says_paced_and_draining() -> None:
    client = await make_client(pace="0.5,0.25")
    client.core.readiness.start_draining()
    status = (await client.admin.get("/admin/status")).json()
    assert status["paced"] == {"fixed_seconds": 0.5, "per_row_seconds": 0.25}
    assert client.engine.config.pace == Pace(0.5, 0.25)
    assert (status["draining"], status["ready"]) == (True, False)


async def put(client: Client, body: object) -> httpx.Response:
    return await client.admin.put("/admin/batch-size", json=body)


async def test_the_batch_size_is_set_and_reported(client: Client) -> None:
    response = await put(client, {"batch_size": 4})
    assert (response.status_code, response.json()) == (200, {"batch_size": 4})
    assert (await client.admin.get("/admin/status")).json()["batch_size"] == 4
    assert await client.value("fluxpool_batch_size_limit") == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"batch_size": 0}, "an integer from 1 to 64, and is 0"),
        ({"batch_size": 65}, "an integer from 1 to 64, and is 65"),
        ({"batch_size": "4"}, "and is a string"),
        ({"batch_size": 4.0}, "and is a number"),
        ({"batch_size": True}, "and is a boolean"),
        ({"batch_size": None}, "'batch_size' is required: an integer from 1 to 64."),
        ({}, "'batch_size' is required"),
        ({"batch_size": 4, "force": True}, "Unknown field 'force'"),
        ([4], "a JSON object"),
    ],
)
async def test_a_batch_size_out_of_bounds_is_a_400_and_changes_nothing(client: Client, body: object, says: str) -> None:
    response = await put(client, body)
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]
    assert (await client.admin.get("/admin/status")).json()["batch_size"] == 8


async def test_other_methods_and_large_bodies_are_refused(client: Client) -> None:
    assert (await client.admin.post("/admin/batch-size", json={"batch_size": 4})).status_code == 405
    assert (await put(client, {"batch_size": 4, "x": "x" * 5000})).status_code == 413


async def test_a_changed_token_file_needs_no_restart(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    client = await make_client(admin_token=None, admin_token_file=str(file))

    async def status(token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return (await client.admin.get("/admin/status", headers=headers)).status_code

    assert await status("first") == 200
    file.write_text("second")
    assert await status("second") == 200
    assert await status("first") == 401
    file.write_text("")
    assert await status("") == 401
    file.unlink()
    assert await status("second") == 401


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_token_file_without_a_token_is_refused_at_the_start(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    settings = ServeSettings(model="m", admin_token_file=file)
    with pytest.raises(StartError) as raised:
        build_edge(settings, build_core(settings))
    assert raised.value.reason == "InvalidConfiguration"
    assert str(file) in raised.value.message
