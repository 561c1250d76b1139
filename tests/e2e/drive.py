"""A load: an open loop whose rate can be turned while it runs, or a closed one of a few clients."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from e2e.ledger import Ledger
from e2e.pools import MODEL, SIZE, STEPS
from fluxpool_demo.load import ImageClient, ImageJob, OpenLoop, image_client

ASK_SECONDS = 0.02
PROMPTS = ("a lighthouse at dusk", "a fox in fresh snow", "a bowl of lemons")


class Drive:
    """Sends images at `rate` per second, each of `steps` denoising steps, however the earlier ones fare."""

    def __init__(self, base_url: str, client: ImageClient, ledger: Ledger) -> None:
        self.rate = 0.0
        self.steps = STEPS
        self._base_url = base_url
        self._client = client
        self._ledger = ledger
        self._sent = 0

    async def one(self) -> bytes:
        """One image, now."""
        record, image = await self._client.ask(self._job(self.steps))
        self._ledger.add([record])
        assert image is not None, record.error
        return image

    async def ask_in_vain(self, seconds: float) -> None:
        """Ask for images that the server refuses at once, one after another by a client of its own."""
        deadline = time.monotonic() + seconds
        async with image_client(self._base_url) as client:
            while time.monotonic() < deadline:
                record, _ = await client.ask(self._job(steps=0))
                assert "BadRequestError" in str(record.error), record
                await asyncio.sleep(ASK_SECONDS)

    @asynccontextmanager
    async def asking(self, clients: int) -> AsyncIterator[None]:
        """So many clients while the block runs, each of which asks for an image when it has its last: a closed loop.

        Never are more requests in flight than clients; every final outcome is known after the block.
        """
        enough = asyncio.Event()

        async def ask_on() -> None:
            while not enough.is_set():
                await self.one()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(ask_on())
            yield
            enough.set()

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
        now = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run([(now, self._job(steps)) for _ in range(count)]))
            yield
        self._ledger.add(loop.records)

    def _arrivals(self) -> Iterator[tuple[float, ImageJob]]:
        due_at = time.monotonic()
        while self.rate > 0:
            due_at += 1 / self.rate
            yield due_at, self._job(self.steps)

    def _job(self, steps: int) -> ImageJob:
        self._sent += 1
        prompt = PROMPTS[self._sent % len(PROMPTS)]
        return ImageJob(model=MODEL, prompt=prompt, steps=steps, seed=self._sent, size=SIZE)


@asynccontextmanager
async def driving(base_url: str, ledger: Ledger) -> AsyncIterator[Drive]:
    """A load on one endpoint, by one official client."""
    async with image_client(base_url) as client:
        yield Drive(base_url, client, ledger)
