"""A whole server process over the in-memory engine: probes, signals, exit codes, the termination message, the log."""

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from server_process import ADMIN_TOKEN, ServerProcess
from waiting import until, until_async

SCRIPT = str(Path(__file__).with_name("in_memory_server.py"))
GENERATE = "/v1/images/generations"
BODY = {"prompt": "a very secret prompt", "size": "64x64"}
Start = Callable[..., ServerProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[ServerProcess] = []

    def begin(**environment: str) -> ServerProcess:
        started.append(ServerProcess([SCRIPT], environment))
        return started[-1]

    yield begin
    for server in started:
        server.__exit__(None, None, None)


async def until_metric(server: ServerProcess, beginning: str, value: float = 1) -> None:
    """Wait until the series, of which the line's beginning is given, has the value."""
    async with httpx.AsyncClient(base_url=server.url()) as http:

        async def reached() -> bool:
            lines = (await http.get("/metrics")).text.splitlines()
            return any(line.startswith(beginning) and float(line.rsplit(" ", 1)[1]) == value for line in lines)

        await until_async(reached)


async def test_probes_answer_while_the_model_loads_and_a_signal_then_ends_it_with_0(start: Start) -> None:
    server = start(ENGINE_START="never")
    async with httpx.AsyncClient(base_url=server.url()) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/v1/models")).json()["data"][0]["id"] == "m"
        assert (await http.post(GENERATE, json=BODY)).status_code == 503
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.output() == "engine stopped\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_makes_it_unready_refuse_finish_and_exit_with_0(start: Start, number: signal.Signals) -> None:
    server = start(ENGINE_STEP_SECONDS="0.5").wait_ready()
    async with httpx.AsyncClient(base_url=server.url(), timeout=30) as http:
        admitted = asyncio.create_task(http.post(GENERATE, json=BODY))
        await until_metric(server, "fluxpool_requests_running{")
        server.signal(number)
        server.wait_for("draining")
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200
        refused = await http.post(GENERATE, json=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        response = await admitted
    assert response.status_code == 200
    assert len(response.json()["data"]) == 1
    assert await asyncio.to_thread(server.wait) == 0
    assert server.records("drained")


async def test_the_http_process_never_imports_torch_and_its_kin(start: Start) -> None:
    server = start().wait_ready()
    async with httpx.AsyncClient(base_url=server.url()) as http:
        for image_format in ("png", "jpeg", "webp"):
            response = await http.post(GENERATE, json={**BODY, "output_format": image_format})
            assert response.status_code == 200
        assert (await http.get("/metrics")).status_code == 200
        assert (await http.get("/openapi.json")).status_code == 200
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        assert (await http.get(server.url("admin") + "/admin/status", headers=headers)).status_code == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.output() == "engine stopped\n"


async def connect(server: ServerProcess, *pieces: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = server.url().removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    return reader, writer


def head(length: int) -> bytes:
    lines = (f"POST {GENERATE} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_a_request_whose_body_is_still_on_its_way_at_the_signal_is_refused_when_it_is_there(
    start: Start,
) -> None:
    server = start().wait_ready()
    body = json.dumps(BODY).encode()
    reader, writer = await connect(server, head(len(body)), body[:10])
    await until_metric(server, "fluxpool_ready{")
    server.signal(signal.SIGTERM)
    server.wait_for("draining")
    writer.write(body[10:])
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"code":"draining"' in answer
    assert await asyncio.to_thread(server.wait) == 0


async def test_clients_that_are_silent_do_not_hold_up_the_end(start: Start) -> None:
    server = start(BODY_SECONDS="0.5").wait_ready()
    body = json.dumps(BODY).encode()
    never, never_writer = await connect(server, head(len(body)), body[:10])
    idle = [await connect(server), await connect(server, b"GET /healthz HTTP/1.1\r\nhost:")]
    kept, kept_writer = await connect(server, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await kept.readline()).startswith(b"HTTP/1.1 200")
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert (await never.read()).startswith(b"HTTP/1.1 408")
    for _, writer in [*idle, (never, never_writer), (kept, kept_writer)]:
        writer.close()


async def test_a_client_that_leaves_during_the_drain_is_not_waited_for(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="3600").wait_ready()
    body = json.dumps(BODY).encode()
    _, writer = await connect(server, head(len(body)), body)
    await until_metric(server, "fluxpool_requests_running{")
    server.signal(signal.SIGTERM)
    server.wait_for("draining")
    writer.close()
    assert await asyncio.to_thread(server.wait) == 0
    assert server.records("drained")


async def test_clients_that_break_off_anywhere_leave_no_traceback(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="0.05", FLUXPOOL_MAX_PIXELS="1048576").wait_ready()
    body = json.dumps({**BODY, "n": 4, "size": "1024x1024"}).encode()
    request = head(len(body)) + body
    for cut in (0, 1, 20, len(request) - len(body) - 2, len(request) - len(body), len(request) - 1):
        _, writer = await connect(server, request[:cut])
        writer.transport.abort()
    _, writer = await connect(server, request)
    await until_metric(server, "fluxpool_requests_running{", 4)
    writer.transport.abort()
    for garbage in (b"\x00" * 100, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 50_000):
        _, writer = await connect(server)
        writer.write(garbage)
        writer.transport.abort()
    reader, writer = await connect(server, request)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.transport.abort()  # most of its answer is not sent yet
    async with httpx.AsyncClient(base_url=server.url()) as http:
        assert (await http.post(GENERATE, json=BODY)).status_code == 200
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0
    assert not [line for line in server.lines if "Traceback" in line or '"level": "error"' in line]


async def test_a_large_response_to_a_slow_reader_is_sent_to_its_last_byte_after_the_signal(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="0.2", FLUXPOOL_MAX_IMAGES="4").wait_ready()
    body = json.dumps({**BODY, "n": 4, "size": "1024x1024"}).encode()
    reader, writer = await connect(server, head(len(body)), body)
    headers = await reader.readuntil(b"\r\n\r\n")
    server.signal(signal.SIGTERM)
    length = int(next(line for line in headers.split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1])
    received = await reader.read()
    writer.close()
    assert len(received) == length
    assert length > 10_000_000  # more than the sockets' buffers hold
    assert len(json.loads(received)["data"]) == 4
    assert await asyncio.to_thread(server.wait) == 0


async def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="3600").wait_ready()
    async with httpx.AsyncClient(base_url=server.url(), timeout=60) as http:
        admitted = asyncio.create_task(http.post(GENERATE, json=BODY))
        await until_metric(server, "fluxpool_requests_running{")
        server.signal(signal.SIGTERM)
        server.wait_for("draining")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 128 + signal.SIGTERM
        dropped = await admitted
    assert (dropped.status_code, dropped.json()["error"]["code"]) == (503, "draining")
    assert "had to end" in dropped.json()["error"]["message"]
    assert server.output() == "engine stopped\n"
    assert not [line for line in server.lines if "Traceback" in line]


async def test_what_is_not_done_in_drain_seconds_is_dropped_and_told_by_the_exit_code(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="3600", FLUXPOOL_DRAIN_SECONDS="0.5").wait_ready()
    async with httpx.AsyncClient(base_url=server.url(), timeout=60) as http:
        admitted = asyncio.create_task(http.post(GENERATE, json=BODY))
        await until_metric(server, "fluxpool_requests_running{")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 1
        assert (await admitted).status_code == 503
    assert server.records("drain_seconds have passed; what is not answered is dropped")


async def test_an_answer_that_nobody_takes_does_not_outlast_a_second_signal(start: Start) -> None:
    server = start(FLUXPOOL_MAX_PIXELS="1048576").wait_ready()
    body = json.dumps({**BODY, "n": 4, "size": "1024x1024"}).encode()
    reader, writer = await connect(server, head(len(body)), body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    server.signal(signal.SIGTERM)
    server.wait_for("draining")
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 128 + signal.SIGTERM
    writer.transport.abort()
    assert server.output() == "engine stopped\n"
    assert not [line for line in server.lines if "Traceback" in line or "ResourceWarning" in line]


def test_an_engine_that_cannot_start_exits_with_3_and_leaves_the_reason(start: Start, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    server = start(ENGINE_START="fails", FLUXPOOL_TERMINATION_LOG=str(message))
    assert server.wait() == 3
    assert json.loads(message.read_text()) == {
        "reason": "ModelLoadFailed",
        "message": "model_index.json is missing in /models/flux.",
    }
    assert message.read_text().count("\n") == 1


def test_without_the_file_no_termination_message_is_written(start: Start, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    assert start(ENGINE_START="fails", FLUXPOOL_TERMINATION_LOG=str(message)).wait() == 3
    assert not message.exists()


def test_a_taken_port_exits_with_3_and_names_it(start: Start, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start(FLUXPOOL_PORT=str(port), FLUXPOOL_TERMINATION_LOG=str(message))
        assert server.wait() == 3
    found = json.loads(message.read_text())
    assert found["reason"] == "InvalidConfiguration"
    assert f"port {port}: Address already in use" in found["message"]


def test_without_an_admin_token_the_admin_port_is_closed(start: Start) -> None:
    assert "admin" not in start(FLUXPOOL_ADMIN_TOKEN="").wait_for("listening")


def test_it_listens_on_ipv6_as_well(start: Start) -> None:
    server = start(FLUXPOOL_HOST="::").wait_ready()
    port = server.url().rsplit(":", 1)[1]
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    assert httpx.get(f"http://[::1]:{port}/readyz").status_code == 200


async def test_the_access_log_has_one_line_per_request_with_its_id_and_never_the_prompt(start: Start) -> None:
    server = start().wait_ready()
    async with httpx.AsyncClient(base_url=server.url()) as http:
        headers = {"x-request-id": "mine-1"}
        response = await http.post(GENERATE + "?%0a", json={**BODY, "seed": 3, "n": 2}, headers=headers)
        assert response.status_code == 200
        assert (await http.post(GENERATE, json={**BODY, "n": 9})).status_code == 400
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    good, bad = [record for record in server.records("request") if record["path"] == GENERATE]
    assert good["request_id"] == "mine-1"
    assert (good["method"], good["status"], good["level"]) == ("POST", 200, "info")
    assert (good["images"], good["size"], good["steps"], good["seed"]) == (2, "64x64", 28, 3)
    assert good["wait_estimate_seconds"] == 0.5
    assert good["sent_bytes"] == len(response.content)
    assert bad["status"] == 400
    assert {record["level"] for record in server.records("request") if record["path"] == "/readyz"} == {"debug"}
    assert not any("very secret" in line for line in server.lines)


async def test_a_client_that_leaves_is_cancelled_and_logged_as_499(start: Start) -> None:
    server = start(ENGINE_STEP_SECONDS="3600").wait_ready()
    async with httpx.AsyncClient(base_url=server.url()) as http:
        leaving = asyncio.create_task(http.post(GENERATE, json=BODY))
        await until_metric(server, "fluxpool_requests_running{")
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        identity = 'fluxpool_namespace="",fluxpool_pod_uid="",fluxpool_pool=""'
        await until_metric(server, f'fluxpool_cancelled_total{{{identity},stage="denoise"}}')
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [record["status"] for record in server.records("request") if record["path"] == GENERATE] == [499]


async def test_a_client_that_leaves_while_it_sends_its_body_is_no_bad_request(start: Start) -> None:
    server = start().wait_ready()
    _, writer = await connect(server, head(100), b'{"prompt":')
    writer.close()
    await writer.wait_closed()
    await until(lambda: any(record["path"] == GENERATE for record in server.records("request")))
    async with httpx.AsyncClient(base_url=server.url()) as http:
        metrics = (await http.get("/metrics")).text
    (line,) = [line for line in metrics.splitlines() if 'reason="invalid_request"' in line]
    assert line.endswith(" 0.0")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
