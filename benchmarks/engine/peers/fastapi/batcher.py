"""A minimal dynamic batcher in FastAPI: requests of one shape that come close together share one call.

One task takes the oldest request, waits a moment for others of its shape until the batch is full, and has the call made
in a thread, so that the event loop goes on taking requests in. Those of other shapes keep their place in the queue.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI
from flux_peer_kit.contract import PATH, ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request, and where its answer goes."""

    request: ImageRequest
    answer: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """The queue and the task that empties it. Belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pipeline = Pipeline(settings)
        self._device = ThreadPoolExecutor(1)
        self._queue: list[Waiting] = []
        self._came = asyncio.Event()

    async def ask(self, request: ImageRequest) -> dict[str, Any]:
        """The answer to one request."""
        waiting = Waiting(request)
        self._queue.append(waiting)
        self._came.set()
        return await waiting.answer

    async def run(self) -> None:
        """Make batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next()
            try:
                answers = await loop.run_in_executor(self._device, self._make, [one.request for one in batch])
            except Exception as error:  # noqa: BLE001 - it is the clients' to hear
                for one in batch:
                    one.answer.set_exception(error)
                continue
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():  # a client that left has cancelled its future
                    one.answer.set_result(answer)

    async def _next(self) -> list[Waiting]:
        while not self._queue:
            self._came.clear()
            await self._came.wait()
        until = asyncio.get_running_loop().time() + self._settings.wait_seconds
        while len(batch := self._oldest_of_one_shape()) < self._settings.rows:
            self._came.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._came.wait()
            except TimeoutError:
                break
        self._queue = [one for one in self._queue if one not in batch]
        return batch

    def _oldest_of_one_shape(self) -> list[Waiting]:
        shape = self._queue[0].request.shape
        return [one for one in self._queue if one.request.shape == shape][: self._settings.rows]

    def _make(self, requests: list[ImageRequest]) -> list[dict[str, Any]]:
        return [reply(image) for image in self._pipeline.batch(requests)]


def application(settings: Settings) -> FastAPI:
    """The API."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher = app.state.batcher = Batcher(settings)
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post(PATH)
    async def generate(body: dict[str, Any]) -> dict[str, Any]:
        return await app.state.batcher.ask(ImageRequest.parse(body))

    return app


if __name__ == "__main__":
    options = Settings.from_environment()
    uvicorn.run(application(options), host="127.0.0.1", port=options.port, log_level="warning")
