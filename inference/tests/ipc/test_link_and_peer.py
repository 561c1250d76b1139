"""Both ends of the socket in one process: messages both ways, pixels, and the end of either side."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
from leaks import nothing_is_left
from waiting import until

from fluxpool_inference.ipc import link as link_module
from fluxpool_inference.ipc import pixels
from fluxpool_inference.ipc.framing import frame_from_worker
from fluxpool_inference.ipc.link import Link
from fluxpool_inference.ipc.messages import (
    Cancel,
    Failed,
    Finished,
    FromWorker,
    SetBatchSize,
    Started,
    Submit,
    ToWorker,
)
from fluxpool_inference.ipc.peer import Peer
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest

BUCKET = Bucket(4, 4, 32)


def finished(number: int) -> Finished:
    return Finished(number, BUCKET, 0.1, 0.2, 0.3, 0)


def picture(number: int, size: int = 64 * 64 * 3) -> memoryview:
    return memoryview(bytes([number % 256]) * size)


class Line:
    """A Link and a Peer on one pair of sockets, and what each has heard."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.theirs = theirs
        self.to_worker: list[ToWorker] = []
        self.from_worker: list[FromWorker] = []
        self.images: dict[int, bytes] = {}
        self.closed_here = 0
        self.closed_there = 0
        self.peer = Peer(ours, self._hear, self._peer_closed)
        self.link = Link(theirs, self.to_worker.append, self._link_closed)

    def _hear(self, message: FromWorker, descriptor: int | None) -> None:
        self.from_worker.append(message)
        if descriptor is not None:
            with pixels.take(descriptor) as memory:
                self.images[message.number] = memory[:]  # type: ignore[union-attr]

    def _peer_closed(self) -> None:
        self.closed_here += 1

    def _link_closed(self) -> None:
        self.closed_there += 1

    async def hang_up(self) -> None:
        """Both threads of the link end with it."""
        self.peer.close()
        await until(lambda: self.closed_there == 1)
        self.link.flush()
        self.theirs.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """Whatever a test does with it, nothing of it may be left."""
    with nothing_is_left():
        line = Line()
        yield line
        await line.hang_up()


async def test_messages_arrive_both_ways_in_order(line: Line) -> None:
    for number in range(200):
        line.peer.send(Cancel(number))
        line.link.send(Started(number, 0.5))
    await until(lambda: len(line.to_worker) == 200 and len(line.from_worker) == 200)
    assert line.to_worker == [Cancel(number) for number in range(200)]
    assert line.from_worker == [Started(number, 0.5) for number in range(200)]


async def test_pixels_arrive_with_their_message_whatever_is_said_around_it(line: Line) -> None:
    for number in range(60):
        line.link.send(Started(number, 0.5))
        line.link.send(finished(number), picture(number))
        line.link.send(Failed(1000 + number, "x" * 5000))
    await until(lambda: len(line.from_worker) == 180)
    assert line.images == {number: bytes(picture(number)) for number in range(60)}


async def test_pixels_of_any_shape_are_sent_row_by_row(line: Line) -> None:
    image = memoryview(bytes(range(256)) * 3).cast("B", (16, 16, 3))
    line.link.send(finished(1), image)
    await until(lambda: bool(line.images))
    assert line.images[1] == bytes(range(256)) * 3


async def test_more_than_the_socket_holds_is_sent_when_the_other_side_reads() -> None:
    ours, theirs = socket.socketpair()
    peer = Peer(ours, lambda message, descriptor: None, lambda: None)
    request = ImageRequest("p" * 100_000, 64, 64, 1, None, 1)
    for number in range(30):  # nobody reads: this must not block
        peer.send(Submit(number, request, BUCKET, 0.0))
    heard: list[ToWorker] = []
    closed: list[bool] = []
    link = Link(theirs, heard.append, lambda: closed.append(True))
    await until(lambda: len(heard) == 30)
    assert [message.number for message in heard if isinstance(message, Submit)] == list(range(30))
    peer.close()
    await until(lambda: bool(closed))
    link.flush()
    theirs.close()


async def test_the_peer_hears_the_last_words_of_a_worker_and_then_its_end_once() -> None:
    with nothing_is_left():
        line = Line()
        line.link.send(finished(1), picture(1))
        line.link.send(Failed(2, "no"))
        line.link.flush()
        line.theirs.shutdown(socket.SHUT_RDWR)
        await until(lambda: line.closed_here == 1)
        assert [message.number for message in line.from_worker if not isinstance(message, Started)] == [1, 2]  # type: ignore[union-attr]
        line.peer.send(SetBatchSize(1))
        await until(lambda: line.closed_there == 1)
        line.peer.close()
        line.theirs.close()
        assert line.closed_here == 1


async def test_a_peer_that_is_woken_for_nothing_goes_on(line: Line) -> None:
    line.peer._read()
    assert line.closed_here == 0
    line.link.send(Started(1, 0.5))
    await until(lambda: line.from_worker == [Started(1, 0.5)])


async def test_a_peer_that_hangs_up_is_not_told_of_its_own_end(line: Line) -> None:
    line.peer.close()
    line.peer.close()
    line.peer.send(SetBatchSize(1))
    await until(lambda: line.closed_there == 1)
    assert line.closed_here == 0


async def test_what_the_worker_says_after_the_end_is_dropped_without_a_trace(line: Line) -> None:
    line.peer.close()
    await until(lambda: line.closed_there == 1)
    for number in range(20):
        line.link.send(finished(number), picture(number))
    line.link.flush()


async def test_pixels_on_the_way_at_the_end_are_freed() -> None:
    with nothing_is_left():
        line = Line()
        for number in range(10):
            line.link.send(finished(number), picture(number))
        line.link.flush()  # all of it lies in the socket, unread
        line.peer.close()
        await until(lambda: line.closed_there == 1)
        line.theirs.close()
        assert line.images == {}


async def test_a_handler_that_hangs_up_hears_no_more_and_nothing_leaks() -> None:
    with nothing_is_left():
        ours, theirs = socket.socketpair()
        heard: list[FromWorker] = []

        def hear(message: FromWorker, descriptor: int | None) -> None:
            heard.append(message)
            peer.close()

        peer = Peer(ours, hear, lambda: None)
        theirs.sendall(frame_from_worker(Started(1, 0.0)))
        descriptor = pixels.share(picture(2))
        socket.send_fds(theirs, [frame_from_worker(Started(1, 0.0)) + frame_from_worker(finished(2))], [descriptor])
        os.close(descriptor)
        await until(lambda: bool(heard))
        await asyncio.sleep(0)
        assert heard == [Started(1, 0.0)]
        theirs.close()


@pytest.mark.parametrize("rubbish", [b"\xff" * 8, b"\0\0\0\2{}", b"\0\0\0\4nope"])
async def test_a_broken_stream_is_the_end_of_the_worker(rubbish: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with nothing_is_left():
        line = Line()
        line.theirs.sendall(rubbish)
        await until(lambda: line.closed_here == 1)
        await until(lambda: line.closed_there == 1)
        assert "the stream of a worker ended" in caplog.text
        line.link.flush()
        line.theirs.close()


async def test_a_broken_stream_is_the_end_of_the_http_process(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    closed: list[bool] = []
    link = Link(theirs, lambda message: None, lambda: closed.append(True))
    ours.sendall(b"\0\0\0\2{}")
    await until(lambda: bool(closed))
    assert "the stream of the HTTP process is broken" in caplog.text
    link.flush()
    ours.close()
    theirs.close()


@contextmanager
def no_more_files() -> Iterator[None]:
    """Every call that would open a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_descriptor_that_this_process_cannot_take_ends_the_worker_rather_than_mix_up_images(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    descriptor = pixels.share(picture(1))
    with no_more_files():
        socket.send_fds(line.theirs, [frame_from_worker(finished(1))], [descriptor])
        await until(lambda: line.closed_here == 1)
    os.close(descriptor)
    assert line.images == {}
    assert "too many open files" in caplog.text
    await line.hang_up()


async def test_pixels_that_cannot_be_shared_fail_their_image_alone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    true_share: Callable[[memoryview], int] = pixels.share

    def share(content: memoryview) -> int:
        if content[0] == 2:
            raise OSError(12, "Cannot allocate memory")
        return true_share(content)

    monkeypatch.setattr(link_module, "share", share)
    for number in (1, 2, 3):
        line.link.send(finished(number), picture(number))
    await until(lambda: len(line.from_worker) == 3)
    assert line.images.keys() == {1, 3}
    (failed,) = [message for message in line.from_worker if isinstance(message, Failed)]
    assert failed.number == 2
    assert "Cannot allocate memory" in failed.message


async def test_an_image_shared_in_part_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with nothing_is_left():
        monkeypatch.setattr(pixels.os, "write", full)
        with pytest.raises(OSError, match="No space"):
            pixels.share(picture(1))
        monkeypatch.undo()


def test_memory_that_cannot_be_mapped_leaves_no_descriptor() -> None:
    with nothing_is_left():
        empty = os.memfd_create("fluxpool-image")
        with pytest.raises(ValueError, match="empty"):
            pixels.take(empty)


def test_pixels_are_read_only_on_the_far_side() -> None:
    with pixels.take(pixels.share(picture(7))) as memory:
        assert memory[:3] == b"\7\7\7"
        with pytest.raises(TypeError):
            memory[0] = 1
