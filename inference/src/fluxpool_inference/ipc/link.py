"""The worker's end: two threads of its own, so that the thread of the device never waits for the HTTP process.

One reads and hands each message on; one writes, and copies the pixels into shared memory before it does.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from queue import SimpleQueue

from pydantic import ValidationError

from fluxpool_inference.ipc.framing import BrokenFrameError, Frames, frame_from_worker
from fluxpool_inference.ipc.messages import TO_WORKER, Failed, Finished, FromWorker, ToWorker
from fluxpool_inference.ipc.pixels import share

logger = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024


class Link:
    """The HTTP process, as messages. `on_message` and `on_closed` are called on the reading thread."""

    def __init__(
        self, end: socket.socket, on_message: Callable[[ToWorker], None], on_closed: Callable[[], None]
    ) -> None:
        end.setblocking(True)
        self._socket = end
        self._on_message = on_message
        self._on_closed = on_closed
        self._outbox: SimpleQueue[tuple[FromWorker, memoryview | None] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="ipc-write", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="ipc-read", daemon=True).start()

    def send(self, message: FromWorker, pixels: memoryview | None = None) -> None:
        """Queue a message; never blocks. `pixels` must not change afterwards."""
        self._outbox.put((message, pixels))

    def flush(self) -> None:
        """Wait until all that was queued is written, or the other side is gone. Nothing may be sent afterwards."""
        self._outbox.put(None)
        self._writer.join()

    def _read(self) -> None:
        frames = Frames()
        try:
            while data := self._socket.recv(_READ_BYTES):
                for payload in frames.feed(data):
                    self._on_message(TO_WORKER.validate_json(payload))
        except (BrokenFrameError, ValidationError) as error:
            logger.warning("the stream of the HTTP process is broken: %s", error)
        except OSError:
            pass  # it hung up, and had not read our last words
        self._on_closed()

    def _write(self) -> None:
        while (item := self._outbox.get()) is not None:
            try:
                self._send(*item)
            except OSError:
                return  # the reading thread sees the end too, and tells it

    def _send(self, message: FromWorker, pixels: memoryview | None) -> None:
        if not isinstance(message, Finished) or pixels is None:
            self._socket.sendall(frame_from_worker(message))
            return
        try:
            descriptor = share(pixels)
        except OSError as error:  # no end of the line: of this image alone
            logger.warning("image %d: its pixels cannot be shared: %s", message.number, error)
            self._socket.sendall(frame_from_worker(Failed(message.number, f"its pixels cannot be shared: {error}")))
            return
        frame = frame_from_worker(message)
        try:
            sent = socket.send_fds(self._socket, [frame], [descriptor])
        finally:
            os.close(descriptor)
        self._socket.sendall(frame[sent:])
