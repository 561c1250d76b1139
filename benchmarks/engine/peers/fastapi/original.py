"""The design that fluxpool began from, in its two modes: one pipeline behind a lock, or a pool of pipelines.

The first is the pool of one. A request checks a pipeline out, makes its image alone, and releases it; FastAPI runs
each handler in a thread. PNGs are encoded after the release, so that they hold nothing up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import uvicorn
from fastapi import FastAPI
from flux_peer_kit.contract import PATH, ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings


class Pool:
    """Pipelines, each used by one request at a time."""

    def __init__(self, settings: Settings) -> None:
        self._free: SimpleQueue[Pipeline] = SimpleQueue()
        for _ in range(settings.pipelines):
            self._free.put(Pipeline(settings))

    @contextmanager
    def checkout(self) -> Iterator[Pipeline]:
        """A pipeline, as soon as one is free, and its release at the end."""
        pipeline = self._free.get()
        try:
            yield pipeline
        finally:
            self._free.put(pipeline)


def application(pool: Pool) -> FastAPI:
    """The API."""
    app = FastAPI()

    @app.post(PATH)
    def generate(body: dict[str, Any]) -> dict[str, Any]:
        request = ImageRequest.parse(body)
        with pool.checkout() as pipeline:
            (image,) = pipeline.batch([request])
        return reply(image)

    return app


if __name__ == "__main__":
    settings = Settings.from_environment()
    uvicorn.run(application(Pool(settings)), host="127.0.0.1", port=settings.port, log_level="warning")
