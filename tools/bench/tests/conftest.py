"""A real HTTP server on loopback that answers like an OpenAI image server, with the delay and faults a test sets."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class ImageServer(ThreadingHTTPServer):
    """Counts what it was asked; `statuses` are given out in turn, 200 when used up.

    Where set, `trickle` is the pause in seconds before each byte of an image's answer, and `images` are all it has.
    """

    daemon_threads = True
    request_queue_size = 128  # of five, a sixth connection at once may wait for a second try

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        self.statuses: list[int] = []
        self.delay = 0.0
        self.trickle = 0.0
        self.images: list[dict[str, Any]] | None = None
        self.in_flight = 0
        self.most_in_flight = 0
        self.steps = 0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: ImageServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold an answer's body back by 40 ms

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.authorizations.add(self.headers["Authorization"])
            self.server.in_flight += 1
            self.server.steps += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
            status = self.server.statuses.pop(0) if self.server.statuses else 200
        threading.Event().wait(self.server.delay)
        with self.server.lock:
            self.server.in_flight -= 1
        images = self.server.images
        data = [{"b64_json": PIXEL}] * body.get("n", 1) if images is None else images
        self.answer(status, {"data": data} if status == 200 else {"error": {"message": "no"}}, self.server.trickle)

    def do_GET(self) -> None:
        text = "# TYPE fluxpool_batch_rows histogram\n"
        for bound, share in (("1.0", 0.5), ("2.0", 1.0), ("+Inf", 1.0)):
            text += f'fluxpool_batch_rows_bucket{{le="{bound}"}} {int(self.server.steps * share)}\n'
        self.answer(200, text + f"fluxpool_batch_rows_count {self.server.steps}\nfluxpool_batch_rows_sum 0\n")

    def answer(self, status: int, body: Any, pause: float = 0.0) -> None:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        parts = [raw[place : place + 1] for place in range(len(raw))] if pause else [raw]
        with suppress(BrokenPipeError):  # a client that hangs up
            for part in parts:
                threading.Event().wait(pause)
                self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ImageServer]:
    yield from serve()


@pytest.fixture
def other_server() -> Iterator[ImageServer]:
    yield from serve()


def serve() -> Iterator[ImageServer]:
    server = ImageServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
