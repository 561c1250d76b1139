"""What happens on the wire, over real sockets: early answers, disconnects, keep-alive."""

import asyncio

import httpx
import pytest
from edge_client import Client
from waiting import until

GENERATE = "/v1/images/generations"


async def exchange(base_url: str, *pieces: bytes) -> bytes:
    """Send all pieces, then read to the end of the connection."""
    host, port = base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
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
    client.edge.readiness.start_draining()
    body = b'{"prompt": "a"}'
    answer = await exchange(base_url, head(GENERATE, len(body)), body)
    assert answer.startswith(b"HTTP/1.1 503")


async def test_a_client_that_expects_100_continue_is_answered_before_it_sends(client: Client, base_url: str) -> None:
    client.edge.readiness.start_draining()
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
    host, port = base_url.removeprefix("http://").split(":")
    body = b'{"prompt": "a", "size": "512x512", "n": 4}'
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
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
