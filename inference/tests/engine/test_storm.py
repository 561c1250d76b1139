"""Many clients at once, impatient ones, bad prompts, a batch size that changes, and workers killed in the middle of it.

Whatever happens, each admitted image ends once, with the right pixels if it has any, and nothing is left behind.
"""

import asyncio
import random

import pytest
from bed import Bed, Make
from bench import image, pair
from fake_model import picture

from fluxpool_inference.engine import Priority, Rejected, RequestFailed, WorkerState

PROMPTS = ["a tree", "a cat", "error at step 1", "oom once at decode", "oom at step 0", "error at encode"]
WEIGHTS = [12, 12, 1, 1, 1, 1]


class Client:
    """Asks for one image after another, and now and then gives one up."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self._bed = bed
        self._random = random.Random(seed)
        self.outcomes: list[str] = []

    async def run(self, until: float) -> None:
        while asyncio.get_running_loop().time() < until:
            self.outcomes.append(await self._ask())

    async def _ask(self) -> str:
        chance = self._random
        make = chance.choice([image, image, pair])
        request = make(
            chance.choices(PROMPTS, WEIGHTS)[0],
            seed=chance.randrange(256),
            steps=chance.randint(1, 8),
            width=chance.choice([32, 64]),
            priority=chance.choice(list(Priority)),
        )
        try:
            (ticket,) = await self._bed.engine.admit([request])
        except Rejected:
            await asyncio.sleep(0.02)
            return "rejected"
        patience = chance.uniform(0.0, 0.3) if chance.random() < 0.25 else None
        try:
            async with asyncio.timeout(patience):
                made = await ticket.result()
        except TimeoutError:
            # What fails in the very moment in which it is given up has failed.
            (end,) = await asyncio.gather(ticket.result(), return_exceptions=True)
            return "failed" if isinstance(end, RequestFailed) else "cancelled"
        except RequestFailed:
            return "failed"
        with made:
            assert bytes(made.pixels) == picture(request)
        return "ok"


class Chaos:
    """Changes the batch size all the time, and kills a worker once it has finished something."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self._bed = bed
        self._random = random.Random(seed)
        self._killed: set[int | None] = set()

    @property
    def kills(self) -> int:
        return len(self._killed)

    async def run(self, until: float, between_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        finished, next_kill = 0, loop.time() + between_seconds
        while loop.time() < until:
            await self._bed.engine.set_batch_size(self._random.randint(1, 8))
            await asyncio.sleep(0.02)
            victim = self._random.choice(self._bed.engine.status().workers)
            alive = (
                victim.state is WorkerState.READY and victim.pid not in self._killed
            )  # whose end may not be told yet
            if alive and len(self._bed.facts.finishes) > finished and loop.time() > next_kill:
                finished, next_kill = len(self._bed.facts.finishes), loop.time() + between_seconds
                self._bed.kill(victim.index)
                self._killed.add(victim.pid)


async def storm(bed: Bed, *, seconds: float, clients: int, between_kills_seconds: float, seed: int) -> None:
    await bed.engine.start()
    until = asyncio.get_running_loop().time() + seconds
    chaos = Chaos(bed, seed)
    crowd = [Client(bed, 1000 * seed + index) for index in range(clients)]
    await asyncio.gather(chaos.run(until, between_kills_seconds), *(client.run(until) for client in crowd))
    await bed.engine.drain()
    outcomes = [outcome for client in crowd for outcome in client.outcomes]
    facts = bed.facts
    assert outcomes.count("ok") == len(facts.finishes) > 0
    assert outcomes.count("failed") == len(facts.failures) > 0
    assert outcomes.count("cancelled") == len(facts.cancellations) > 0
    assert outcomes.count("rejected") == len(facts.rejections)
    assert len(facts.exits) == chaos.kills > 0
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def drained(bed: Bed, *, seed: int) -> None:
    """Drain at some moment of a storm, one in which a worker dies or not, while clients go on asking."""
    chance = random.Random(seed)
    await bed.engine.start()
    until = asyncio.get_running_loop().time() + 0.8
    crowd = [Client(bed, 1000 * seed + index) for index in range(8)]
    asking = [asyncio.create_task(client.run(until)) for client in crowd]
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    if chance.random() < 0.5:
        bed.kill()
    draining = asyncio.create_task(bed.engine.drain())
    await asyncio.sleep(0)
    admitted = len(bed.facts.admitted_work)
    await draining
    bed.assert_nothing_in_flight()
    await asyncio.gather(*asking)
    outcomes = [outcome for client in crowd for outcome in client.outcomes]
    facts = bed.facts
    assert len(facts.admitted_work) == admitted == len(outcomes) - outcomes.count("rejected")
    assert outcomes.count("ok") == len(facts.finishes)
    assert outcomes.count("failed") == len(facts.failures)
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("seed", range(3))
async def test_a_drain_at_any_moment_ends_with_all_that_was_admitted_and_nothing_more(make: Make, seed: int) -> None:
    await drained(make(workers=1 + seed % 2), seed=seed)


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_drains_at_many_moments_end_with_all_that_was_admitted(make: Make) -> None:
    for seed in range(3, 203):
        await drained(make(workers=1 + seed % 3), seed=seed)


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_short_storm_loses_nothing(make: Make, workers: int) -> None:
    await storm(make(workers=workers), seconds=3, clients=12, between_kills_seconds=0.9, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("seed", range(10))
async def test_a_long_storm_loses_nothing(make: Make, seed: int) -> None:
    await storm(
        make(max_waiting=60, workers=1 + seed % 3),
        seconds=120,
        clients=40,
        between_kills_seconds=0.5 * seed + 0.5,
        seed=seed,
    )
