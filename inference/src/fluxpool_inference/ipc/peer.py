"""The HTTP process's end: on the event loop, never blocking.

asyncio's own streams lose the descriptors that ride along with bytes, so this reads and writes the socket itself.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable

from pydantic import ValidationError

from fluxpool_inference.ipc.framing import BrokenFrameError, Frames, frame_to_worker
from fluxpool_inference.ipc.messages import FROM_WORKER, Finished, FromWorker, ToWorker

logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_DESCRIPTORS_PER_READ = 16

OnMessage = Callable[[FromWorker, int | None], None]
"""Gets each message; with Finished also the descriptor of its pixels, which it must close."""


class Peer:
    """One worker, as messages. Calls `on_closed` once when the worker's end is gone, unless it was closed from here.

    If `on_message` raises, the line is cut: the worker exits and another begins anew with what was admitted.
    """

    def __init__(self, end: socket.socket, on_message: OnMessage, on_closed: Callable[[], None]) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_message = on_message
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._frames = Frames()
        self._descriptors: deque[int] = deque()
        self._unsent = bytearray()
        self._closed = False
        self._broken = False
        self._loop.add_reader(end, self._read)

    def send(self, message: ToWorker) -> bool:
        """Send in order, now or as soon as the worker reads; False if it is known to be gone.

        Nothing is sent after the end: `on_closed` has told it, or will.
        """
        if self._closed:
            return False
        if not self._unsent:
            self._loop.add_writer(self._socket, self._write)
        self._unsent += frame_to_worker(message)
        self._write()
        return not self._broken

    def close(self) -> None:
        """Hang up: the worker exits. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            while self._descriptors:
                os.close(self._descriptors.popleft())

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # the worker is gone; reading tells it, after what it said last
            self._broken = True
            sent = len(self._unsent)
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            messages = self._receive()
        except BlockingIOError:
            return
        except (OSError, BrokenFrameError, ValidationError) as error:
            logger.warning("the stream of a worker ended: %s", error)
            self._end()
            return
        try:
            self._deliver(messages)
        except Exception:
            logger.exception("a message of a worker could not be applied")
            self._end()

    def _deliver(self, messages: list[FromWorker]) -> None:
        for message in messages:
            if self._closed:  # by the handler of the message before
                break
            self._on_message(message, self._descriptors.popleft() if isinstance(message, Finished) else None)

    def _end(self) -> None:
        """The worker is gone, or must go: what it says next could not be trusted."""
        self.close()
        self._on_closed()

    def _receive(self) -> list[FromWorker]:
        """What has come; raises at the end of the stream, whatever ended it."""
        data, descriptors, flags, _ = socket.recv_fds(
            self._socket, _READ_BYTES, _DESCRIPTORS_PER_READ, socket.MSG_CMSG_CLOEXEC
        )
        self._descriptors.extend(descriptors)
        if flags & socket.MSG_CTRUNC:  # later descriptors would go to the wrong images
            raise ConnectionError("a descriptor was lost: too many open files")
        if not data:
            raise ConnectionResetError("the worker is gone")
        return [FROM_WORKER.validate_json(payload) for payload in self._frames.feed(data)]
