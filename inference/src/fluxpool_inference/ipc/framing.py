"""Frames: four bytes of length, big endian, then so many bytes of JSON."""

import struct

from fluxpool_inference.ipc.messages import FROM_WORKER, TO_WORKER, FromWorker, ToWorker

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Far above any message; a longer one means that the stream is broken."""


class BrokenFrameError(Exception):
    """The stream holds something that is no frame."""


def frame_to_worker(message: ToWorker) -> bytes:
    """A message as one frame."""
    return _frame(TO_WORKER.dump_json(message))


def frame_from_worker(message: FromWorker) -> bytes:
    """A message as one frame."""
    return _frame(FROM_WORKER.dump_json(message))


def _frame(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts a stream of bytes into the payloads of its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add what was received; return the payloads now complete. Raises BrokenFrameError."""
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME_BYTES:
                raise BrokenFrameError(f"a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return payloads
