"""The design that fluxpool began from, in its two modes: one pipeline behind a lock, or a pool of pipelines.

The first is the pool of one. A request checks a pipeline out, in the order of arrival, has its image made alone in a
thread, and releases it. PNGs are encoded after the release, so that they hold nothing up.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from flux_peer_kit.contract import PATH, ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings


class Pool:
    """Pipelines, each used by one request at a time."""

    def __init__(self, settings: Settings) -> None:
        self._free: asyncio.Queue[Pipeline] = asyncio.Queue()
        for _ in range(settings.pipelines):
            self._free.put_nowait(Pipeline(settings))

    @asynccontextmanager
    async def checkout(self) -> AsyncIterator[Pipeline]:
        """A pipeline, as soon as one is free, and its release at the end."""
        pipeline = await self._free.get()
        try:
            yield pipeline
        finally:
            self._free.put_nowait(pipeline)


def application(pool: Pool) -> FastAPI:
    """The API."""
    app = FastAPI()

    @app.post(PATH)
    async def generate(body: dict[str, Any]) -> dict[str, Any]:
        request = ImageRequest.parse(body)
        async with pool.checkout() as pipeline:
            (image,) = await asyncio.to_thread(pipeline.batch, [request])
        return await asyncio.to_thread(reply, image)

    return app


if __name__ == "__main__":
    settings = Settings.from_environment()
    uvicorn.run(application(Pool(settings)), host="127.0.0.1", port=settings.port, log_level="warning")
