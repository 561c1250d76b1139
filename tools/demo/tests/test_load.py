import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fluxpool_demo.load import ImageJob, OpenLoop, RequestRecord, image_client

JOB = ImageJob(model="tiny", prompt="a fox", steps=4, seed=1, size="64x64")
IMAGE = b"a picture"
OK = (200, {}, {"created": 1, "data": [{"b64_json": base64.b64encode(IMAGE).decode()}]})
BUSY = (429, {"Retry-After": "0.01"}, {"error": {"message": "busy", "type": "rate_limit", "param": None, "code": "x"}})
WRONG = (400, {}, {"error": {"message": "no such size", "type": "invalid_request_error", "param": "size", "code": "x"}})
Answer = tuple[int, dict[str, str], object]
Responder = Callable[[dict[str, str], dict[str, object]], Awaitable[Answer]]


@asynccontextmanager
async def server(respond: Responder) -> AsyncIterator[str]:
    """An HTTP server that closes each connection after its answer, as ours does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
        try:
            status, extra, answer = await respond(headers, body)
        except ConnectionAbortedError:
            writer.close()
            return
        content = json.dumps(answer).encode()
        lines = {"Content-Type": "application/json", "Content-Length": len(content), "Connection": "close", **extra}
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} -\r\n{fields}\r\n".encode() + content)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def answers(*script: Answer) -> Responder:
    left = list(script)

    async def respond(headers: dict[str, str], body: dict[str, object]) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return respond


async def ask(respond: Responder, due_at: float | None = None) -> tuple[RequestRecord, bytes | None]:
    async with server(respond) as url, image_client(url) as client:
        return await client.ask(JOB, due_at)


async def test_an_image_comes_back_as_it_was_sent() -> None:
    record, image = await ask(answers(OK))
    assert record.ok
    assert image == IMAGE


async def test_the_request_names_steps_and_seed_beside_what_openai_knows_and_carries_no_key() -> None:
    seen: list[tuple[dict[str, str], dict[str, object]]] = []

    async def respond(headers: dict[str, str], body: dict[str, object]) -> Answer:
        seen.append((headers, body))
        return OK

    await ask(respond)
    [(headers, body)] = seen
    assert body == {
        "model": "tiny",
        "prompt": "a fox",
        "size": "64x64",
        "response_format": "b64_json",
        "num_inference_steps": 4,
        "seed": 1,
    }
    assert "authorization" not in headers


async def test_a_429_that_a_retry_heals_is_counted_and_is_no_failure() -> None:
    record, image = await ask(answers(BUSY, BUSY, OK))
    assert record.ok
    assert record.rejections == 2
    assert image == IMAGE


async def test_a_request_that_stays_refused_after_the_default_retries_has_failed() -> None:
    record, image = await ask(answers(BUSY))
    assert not record.ok
    assert record.rejections == 3  # the first attempt and the client's two retries
    assert record.error is not None
    assert record.error.startswith("RateLimitError")
    assert image is None


async def test_an_attempt_without_an_answer_is_counted_even_where_a_retry_heals_it() -> None:
    async def respond(headers: dict[str, str], body: dict[str, object]) -> Answer:
        if headers["x-stainless-retry-count"] == "0":
            raise ConnectionAbortedError
        return OK

    record, _ = await ask(respond)
    assert record.ok
    assert record.unanswered == 1


async def test_a_server_that_is_not_there_answers_no_attempt() -> None:
    async with server(answers(OK)) as url:
        pass
    async with image_client(url) as client:
        record, _ = await client.ask(JOB)
    assert not record.ok
    assert record.unanswered == 3


async def test_a_bad_request_fails_with_the_servers_words() -> None:
    record, _ = await ask(answers(WRONG))
    assert record.error is not None
    assert "no such size" in record.error


async def test_an_answer_without_an_image_is_a_failure() -> None:
    record, _ = await ask(answers((200, {}, {"created": 1, "data": []})))
    assert record.error == "OpenAIError: the answer holds no image"


async def test_latency_counts_from_when_the_request_was_due_not_from_when_it_was_sent() -> None:
    async with server(answers(OK)) as url, image_client(url) as client:
        client._clock = lambda: 100.0
        record, _ = await client.ask(JOB, due_at=93.0)
    assert record.latency_seconds == 7


async def test_the_loop_is_open_requests_go_out_while_none_is_answered() -> None:
    count, arrived, all_there = 12, 0, asyncio.Event()

    async def respond(headers: dict[str, str], body: dict[str, object]) -> Answer:
        nonlocal arrived
        arrived += 1
        if arrived == count:
            all_there.set()
        await all_there.wait()  # a closed loop would wait here for ever
        return OK

    async with server(respond) as url, image_client(url) as client:
        loop = OpenLoop(client)
        await asyncio.wait_for(loop.run([(0.0, JOB)] * count), timeout=30)
    assert [record.ok for record in loop.records] == [True] * count
    assert loop.in_flight == 0


async def test_rejections_of_one_request_are_not_charged_to_its_neighbour() -> None:
    refused: set[object] = set()

    async def respond(headers: dict[str, str], body: dict[str, object]) -> Answer:
        if body["seed"] == 1 and body["seed"] not in refused:
            refused.add(body["seed"])
            return BUSY
        return OK

    jobs = [ImageJob(model="tiny", prompt="a fox", steps=4, seed=seed, size="64x64") for seed in range(3)]
    async with server(respond) as url, image_client(url) as client:
        records = await asyncio.gather(*(client.ask(job) for job in jobs))
    assert [record.rejections for record, _ in records] == [0, 1, 0]
