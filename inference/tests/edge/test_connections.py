"""What happens on the wire, over real sockets: early answers, disconnects, keep-alive."""

import asyncio
import json
import socket

import httpx
import pytest
from edge_client import Client, listening, make_client
from waiting import until

from fluxpool_inference import servers as servers_module

GENERATE = "/v1/images/generations"


async def connect(base_url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose client reads no more than it is asked to."""
    host, port = base_url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), limit=1024)


async def exchange(base_url: str, *pieces: bytes) -> bytes:
    """Send all pieces, then read to the end of the connection."""
    reader, writer = await connect(base_url)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def head(path: str, length: int, more: str = "") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {length}", more]
    return ("\r\n".join(line for line in lines if line) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [(GENERATE, 8_000_000, b"413"), ("/v1/nothing", 1_000_000, b"404"), ("/v1/models", 1_000_000, b"405")],
)
async def test_an_early_answer_to_a_large_body_arrives_and_is_not_lost_in_a_reset(
    base_url: str, path: str, length: int, status: bytes
) -> None:
    answer = await exchange(base_url, head(path, length), b"x" * (length // 2), b"x" * (length - length // 2))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b'{"error":' in answer


async def test_a_draining_servers_503_arrives_before_a_late_body(client: Client, base_url: str) -> None:
    client.core.readiness.start_draining()
    body = b'{"prompt": "a"}'
    answer = await exchange(base_url, head(GENERATE, len(body)), body)
    assert answer.startswith(b"HTTP/1.1 503")


async def test_a_client_that_expects_100_continue_is_answered_before_it_sends(client: Client, base_url: str) -> None:
    client.core.readiness.start_draining()
    answer = await exchange(base_url, head(GENERATE, 100, "expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize("images", [1, 3])
async def test_a_client_that_leaves_frees_its_images_at_once(client: Client, base_url: str, images: int) -> None:
    client.engine.gate.clear()
    async with httpx.AsyncClient(base_url=base_url) as http:
        leaving = asyncio.create_task(http.post(GENERATE, json={"prompt": "a", "n": images}))
        staying = asyncio.create_task(http.post(GENERATE, json={"prompt": "b"}))
        await until(lambda: len(client.engine.tickets) == images + 1)
        leaving.cancel()
        await until(lambda: [ticket.request.prompt for ticket in client.engine.tickets] == ["b"])
        client.engine.gate.set()
        assert (await staying).status_code == 200
    assert await client.value("fluxpool_cancelled_total", stage="queue") == images


async def test_a_client_whose_timeout_passes_frees_its_images(client: Client, base_url: str) -> None:
    client.engine.gate.clear()
    async with httpx.AsyncClient(base_url=base_url, timeout=0.2) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post(GENERATE, json={"prompt": "a"})
    await until(lambda: not client.engine.tickets)


async def test_a_client_that_leaves_while_its_image_is_sent_changes_nothing_for_others(
    client: Client, base_url: str
) -> None:
    body = b'{"prompt": "a", "size": "512x512", "n": 4}'
    reader, writer = await connect(base_url)
    writer.write(head(GENERATE, len(body)) + body)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.transport.abort()
    async with httpx.AsyncClient(base_url=base_url) as http:
        assert (await http.post(GENERATE, json={"prompt": "b"})).status_code == 200
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="ok") == 5


async def test_probes_keep_their_connection_and_images_do_not(base_url: str) -> None:
    connected: list[str] = []

    async def trace(event: str, _: object) -> None:
        if event == "connection.connect_tcp.complete":
            connected.append(event)

    async with httpx.AsyncClient(base_url=base_url) as http:
        for _ in range(3):
            await http.get("/healthz", extensions={"trace": trace})
        assert len(connected) == 1
        for _ in range(3):  # the first takes the connection of the probes
            await http.post(GENERATE, json={"prompt": "a"}, extensions={"trace": trace})
        assert len(connected) == 3


async def test_images_keep_their_connection_where_that_is_set() -> None:
    connected: list[str] = []

    async def trace(event: str, _: object) -> None:
        if event == "connection.connect_tcp.complete":
            connected.append(event)

    kept = await make_client(connection_close=False)
    async with listening(kept) as base_url, httpx.AsyncClient(base_url=base_url) as http:
        for _ in range(3):
            response = await http.post(GENERATE, json={"prompt": "a"}, extensions={"trace": trace})
            assert response.status_code == 200
    assert len(connected) == 1


async def test_replies_of_the_api_end_their_connection_and_probes_do_not(client: Client) -> None:
    assert (await client.generate()).headers["connection"] == "close"
    assert (await client.generate(n=0)).headers["connection"] == "close"
    assert "connection" not in (await client.api.get("/healthz")).headers
    kept = await make_client(connection_close=False)
    assert "connection" not in (await kept.generate()).headers


async def test_a_server_that_drains_ends_connections_also_where_they_are_kept() -> None:
    kept = await make_client(connection_close=False)
    kept.engine.gate.clear()
    async with listening(kept) as base_url, httpx.AsyncClient(base_url=base_url) as http:
        begun = asyncio.create_task(http.post(GENERATE, json={"prompt": "a"}))
        await until(lambda: bool(kept.engine.tickets))
        kept.core.readiness.start_draining()
        kept.engine.gate.set()
        finished, refused = await begun, await http.post(GENERATE, json={"prompt": "a"})
    assert (finished.status_code, refused.status_code) == (200, 503)
    assert finished.headers["connection"] == refused.headers["connection"] == "close"


async def test_a_body_in_chunks_is_read_and_bounded_like_any_other(client: Client, base_url: str) -> None:
    async def chunks(*pieces: bytes) -> object:
        for piece in pieces:
            yield piece

    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=base_url) as http:
        good = await http.post(GENERATE, content=chunks(b'{"prompt":', b' "a"}'), headers=headers)
        assert good.status_code == 200
        large = await http.post(GENERATE, content=chunks(*[b" " * 100_000] * 20), headers=headers)
        assert large.status_code == 413


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        head(GENERATE, -1),
        head(GENERATE, 1, "content-length: 2"),
        "GET /é HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
        head(GENERATE, 1).replace(b"content-length: 1", b"transfer-encoding: chunked") + b"zz\r\n",
    ],
    ids=["tls", "no host", "negative length", "two lengths", "raw path", "bad chunk"],
)
async def test_what_is_no_http_is_told_in_the_form_of_all_errors_with_an_id_that_is_in_the_log(
    base_url: str, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fluxpool.access")
    answer, _, body = (await exchange(base_url, garbage)).partition(b"\r\n\r\n")
    status, *lines = answer.decode("ascii").split("\r\n")
    assert status.startswith("HTTP/1.1 400")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    assert json.loads(body) == {
        "error": {
            "message": "Invalid HTTP request received.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_http",
        }
    }
    (line,) = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "no request"]
    assert (line["request_id"], line["status"]) == (headers["x-request-id"], 400)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000,
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 50_000,
        b"GET /" + b"x" * 200_000,
        head(GENERATE, 1, "content-length: 2"),
        head(GENERATE, 1).replace(b"content-length: 1", b"transfer-encoding: chunked") + b"zz\r\n",
    ],
    ids=["tls", "no host", "huge header", "many headers", "huge path", "two lengths", "bad chunk"],
)
async def test_what_is_no_http_is_a_400_and_harms_nobody_else(base_url: str, garbage: bytes) -> None:
    reader, writer = await connect(base_url)
    try:
        writer.write(garbage)
        await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    except ConnectionError:
        pass  # hung up on before it had sent all of it
    writer.close()
    async with httpx.AsyncClient(base_url=base_url) as http:
        assert (await http.post(GENERATE, json={"prompt": "b"})).status_code == 200


@pytest.mark.parametrize("begun", [b"", b"POST /v1/images", b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: "])
async def test_a_client_that_never_ends_its_head_is_hung_up_on_even_while_it_sends(
    monkeypatch: pytest.MonkeyPatch, client: Client, begun: bytes
) -> None:
    monkeypatch.setattr(servers_module, "KEEP_ALIVE_SECONDS", 0.3)
    async with listening(client) as base_url:
        reader, writer = await connect(base_url)
        writer.write(begun)
        ended = asyncio.create_task(reader.read())
        while begun and not ended.done():  # drips on
            writer.write(b"x")
            await asyncio.sleep(0.02)
        (outcome,) = await asyncio.gather(ended, return_exceptions=True)
        assert outcome == b"" or isinstance(outcome, ConnectionError)
        writer.close()


async def test_a_slow_image_and_a_slow_body_outlast_the_time_for_a_head(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setattr(servers_module, "KEEP_ALIVE_SECONDS", 0.2)
    client.engine.step_seconds = 0.25
    body = b'{"prompt": "a"}'
    async with listening(client) as base_url:
        reader, writer = await connect(base_url)
        writer.write(head(GENERATE, len(body)))
        for byte in body:
            await asyncio.sleep(0.03)
            writer.write(bytes([byte]))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_client_that_stops_reading_its_answer_is_cut_off_so_that_a_drain_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers_module, "SEND_STALL_SECONDS", 1.0)
    client = await make_client(max_pixels=1024 * 1024, default_size="1024x1024")
    body = b'{"prompt": "a", "n": 4}'
    async with asyncio.timeout(60), listening(client) as base_url:
        reader, writer = await connect(base_url)
        writer.write(head(GENERATE, len(body)) + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        # `listening` ends when every answer is sent, or its client is gone.
    writer.transport.abort()


def test_a_body_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    """Nagle's algorithm, with a client that puts acknowledgements off: 40 ms for each answer."""
    with (
        servers_module._bind("127.0.0.1", 0) as bound,
        socket.create_connection(bound.getsockname()),
        bound.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
