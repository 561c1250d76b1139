"""The engine over the real worker process, with torch and a tiny model."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import TEXT_TOKENS, image
from facts import Facts
from stock import Stock
from waiting import until

from fluxpool_inference.contract import START_STAGES
from fluxpool_inference.engine import Engine, EngineConfig, Ticket


async def difference(ticket: Ticket, stock: Stock) -> int:
    """The largest to the stock pipeline's pixels."""
    with await ticket.result() as made:
        found = np.asarray(made.pixels).astype(int)
    return int(np.abs(found - stock.pixels(ticket.request)).max())


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_mixed_images_are_those_of_stock_also_when_their_worker_is_killed_under_way(
    dev_model: Path, workers: int
) -> None:
    stock = Stock(dev_model, text_tokens=TEXT_TOKENS)
    options: dict[str, Any] = {"dtype": "float32", "device": "cpu", "threads": 1, "max_sequence_length": TEXT_TOKENS}
    sizes = {"default_width": 64, "default_height": 64, "max_pixels": 96 * 64}
    facts = Facts()
    engine = Engine(EngineConfig(str(dev_model), workers=workers, drain_seconds=600, **options, **sizes), facts)
    await engine.start()
    try:
        assert {stage for stage, seconds in facts.stages[0].items() if seconds > 0} == {*START_STAGES} - {"compile"}
        requests = [image("a cat", seed=seed, steps=3 + 4 * seed, guidance=1.0 + seed) for seed in range(4)]
        requests.append(image("a dog", width=96))
        tickets = await engine.admit(requests)
        assert max([await difference(ticket, stock) for ticket in tickets]) <= 1
        assert max(facts.rows) > 1

        victim, neighbour = await engine.admit([image(seed=9, steps=400), image("a bird", seed=10, steps=50)])
        await until(lambda: len(facts.finishes) == 5 and engine.status().running == 2)
        worker = engine.status().workers[0].pid
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        assert (
            await asyncio.gather(difference(victim, stock), difference(neighbour, stock))
            == [pytest.approx(0, abs=1)] * 2
        )
        assert facts.exits == ["it was ended by SIGKILL (the kernel does that when memory runs out)"]
        assert facts.in_flight == 0
    finally:
        await engine.stop()
