"""An open-loop load whose rate can be turned while it runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from e2e.ledger import Ledger
from e2e.pools import MODEL, SIZE, STEPS
from fluxpool_demo.load import ImageClient, ImageJob, OpenLoop, image_client

PROMPTS = ("a lighthouse at dusk", "a fox in fresh snow", "a bowl of lemons")


class Drive:
    """Sends images at `rate` per second, each of `steps` denoising steps, however the earlier ones fare."""

    def __init__(self, client: ImageClient, ledger: Ledger) -> None:
        self.rate = 0.0
        self.steps = STEPS
        self._client = client
        self._ledger = ledger
        self._sent = 0

    async def one(self) -> bytes:
        """One image, now."""
        record, image = await self._client.ask(self._job())
        self._ledger.add([record])
        assert image is not None, record.error
        return image

    @asynccontextmanager
    async def running(self, rate: float) -> AsyncIterator[None]:
        """Load while the block runs; every final outcome is known after it."""
        loop = OpenLoop(self._client)
        self.rate = rate
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run(self._arrivals()))
            yield
            self.rate = 0
        self._ledger.add(loop.records)

    @asynccontextmanager
    async def burst(self, count: int, steps: int) -> AsyncIterator[None]:
        """So many requests at once; every final outcome is known after the block."""
        loop = OpenLoop(self._client)
        self.steps = steps
        now = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run([(now, self._job()) for _ in range(count)]))
            yield
        self._ledger.add(loop.records)

    def _arrivals(self) -> Iterator[tuple[float, ImageJob]]:
        due_at = time.monotonic()
        while self.rate > 0:
            due_at += 1 / self.rate
            yield due_at, self._job()

    def _job(self) -> ImageJob:
        self._sent += 1
        prompt = PROMPTS[self._sent % len(PROMPTS)]
        return ImageJob(model=MODEL, prompt=prompt, steps=self.steps, seed=self._sent, size=SIZE)


@asynccontextmanager
async def driving(base_url: str, ledger: Ledger) -> AsyncIterator[Drive]:
    """A load on one endpoint, by one official client."""
    async with image_client(base_url) as client:
        yield Drive(client, ledger)
