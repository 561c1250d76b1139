import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from fluxpool_cluster import forwarder
from fluxpool_cluster.forwarder import Forwarder

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


_HANGS_SECONDS = 30


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, _HANGS_SECONDS))


@contextlib.asynccontextmanager
async def forwarded_to(handler: Handler | None) -> AsyncIterator[int]:
    """The port of a forwarder to a server of this handler, or (None) to a port where nobody listens."""
    server = await asyncio.start_server(handler or answer_length, "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    if handler is None:
        server.close()
        await server.wait_closed()
    listener = forwarder.listen(0)
    port = listener.getsockname()[1]
    task = asyncio.create_task(Forwarder(upstream).serve(listener))
    try:
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        server.close()


async def answer_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read to the end, then answer: only possible if the client's end is handed on and the way back stays open."""
    writer.write(str(len(await reader.read())).encode())
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    writer.transport.abort()


def test_one_direction_may_end_while_the_other_goes_on() -> None:
    async def scenario() -> None:
        async with forwarded_to(answer_length) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x" * 5_000_000)
            writer.write_eof()
            assert await reader.read() == b"5000000"
            writer.close()

    run(scenario())


def test_connections_do_not_wait_for_each_other() -> None:
    async def scenario() -> None:
        async with forwarded_to(answer_length) as port:
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write_eof()
                assert await reader.read() == b"0"
                writer.close()
            idle_writer.write_eof()
            assert await idle_reader.read() == b"0"
            idle_writer.close()

    run(scenario())


def test_while_the_api_server_is_away_connections_are_closed_and_the_forwarder_lives() -> None:
    async def scenario() -> None:
        async with forwarded_to(None) as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.read() == b""
                writer.close()

    run(scenario())


def test_a_connection_that_breaks_on_one_side_ends_on_the_other() -> None:
    async def scenario() -> None:
        async with forwarded_to(hang_up) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    run(scenario())
