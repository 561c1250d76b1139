"""The way in from the host: a TCP forwarder that listens on the host's loopback and connects inside the namespace.

A socket stays in the network namespace where it was made. So this process opens its listening socket on the host,
enters the namespace, and every connection it opens from then on is inside.

    python -m fluxpool_cluster.forwarder HOST_PORT API_PORT
"""

import asyncio
import contextlib
import socket
import sys

from fluxpool_cluster import netns

_CHUNK_BYTES = 65536
_BACKLOG = 256


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, and hand the end on: the other direction may go on (exec, port-forward)."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _close(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:  # all strictly before the first wait, which may be cancelled
        writer.close()
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Forwarder:
    """Forwards each connection to a port of the loopback address that its process sees."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        server = await asyncio.start_server(self._forward, sock=listener)
        async with server:
            await server.serve_forever()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:  # the API server is not there (yet): the client sees its connection closed
            await _close(writer)
            return
        try:
            directions = _copy(reader, upstream_writer), _copy(upstream_reader, writer)
            with contextlib.suppress(OSError):
                await asyncio.gather(*directions)
        finally:
            await _close(upstream_writer, writer)


def listen(port: int) -> socket.socket:
    """A listening socket on the loopback address of the namespace this process is in."""
    return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)


def main(arguments: list[str]) -> None:
    """Listen on the host, then enter the namespace and forward."""
    host_port, api_port = (int(argument) for argument in arguments)
    listener = listen(host_port)
    netns.enter()
    asyncio.run(Forwarder(api_port).serve(listener))


if __name__ == "__main__":
    main(sys.argv[1:])
