"""A server under mixed load for a quarter of an hour: each image right, and no more memory at the end than early on."""

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest
from bench import image
from files import generate, pixels
from served import Served
from stock import Stock
from waiting import until

MINUTES = 15
WARM_MINUTES = 3
GROWTH_BYTES = 48 * 2**20

REQUESTS = [
    image(prompt, seed=seed, steps=steps, guidance=guidance, width=width)
    for prompt in ("a cat", "a dog", "a bird on a wire")
    for seed, steps, guidance, width in ((1, 4, 1.0, 64), (2, 9, 3.5, 64), (3, 20, 7.0, 96), (4, 60, 2.0, 64))
]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.soak
@pytest.mark.timeout(60 * (MINUTES + 10))
async def test_a_quarter_of_an_hour_of_mixed_load_is_right_to_the_end(dev_server: Served, stock: Stock) -> None:
    wanted = {request: stock.pixels(request).astype(int) for request in REQUESTS}
    loop = asyncio.get_running_loop()
    end = loop.time() + 60 * MINUTES
    made = 0

    async def client(seed: int) -> None:
        nonlocal made
        chance = random.Random(seed)
        async with dev_server.client(max_retries=5) as openai:
            while loop.time() < end:
                request = chance.choice(REQUESTS)
                asking = asyncio.create_task(generate(openai, request))
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.uniform(0, 0.5))
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
                    continue
                (file,) = await asking
                assert np.abs(pixels(file).astype(int) - wanted[request]).max() <= 1, request
                made += 1

    async def tinker() -> dict[int, int]:
        """Change the batch size throughout; what was resident once all was warm."""
        warm: dict[int, int] = {}
        while loop.time() < end:
            await asyncio.to_thread(dev_server.set_batch_size, random.randint(1, 8))
            await asyncio.sleep(1)
            if not warm and loop.time() > end - 60 * (MINUTES - WARM_MINUTES):
                warm = {pid: resident_bytes(pid) for pid in (dev_server.process.pid, dev_server.worker_pid)}
        return warm

    warm, *_ = await asyncio.gather(tinker(), *(client(seed) for seed in range(8)))
    assert made > 100
    await until(dev_server.nothing_in_flight)  # what the last clients have given up
    dev_server.assert_everything_adds_up()
    for pid, before in warm.items():
        assert resident_bytes(pid) - before < GROWTH_BYTES
