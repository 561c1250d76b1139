"""A batch size that changes while the engine runs."""

import pytest
from admitting import LONG, SLOW, admit
from bed import Make
from bench import image
from waiting import until

from fluxpool_inference.engine import Priority


async def test_a_new_batch_size_holds_from_the_next_step_on(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    tickets = await bed.engine.admit([image(seed=seed, steps=LONG) for seed in range(3)])
    await bed.until_steps(2)
    assert set(bed.facts.rows) == {1}
    assert await bed.engine.set_batch_size(3) == 3
    assert bed.engine.status().batch_size == 3
    await until(lambda: bed.facts.rows[-1] == 3)
    await bed.engine.set_batch_size(2)
    await until(lambda: bed.facts.rows[-1] == 2)
    for ticket in tickets:
        ticket.cancel()


@pytest.mark.parametrize("rows", [0, 3, 9, -1])
async def test_a_batch_size_outside_its_bounds_is_refused(make: Make, rows: int) -> None:
    bed = make(batch_size=5, batch_size_min=4, batch_size_max=8)
    with pytest.raises(ValueError, match="batch size must be 4 to 8"):
        await bed.engine.set_batch_size(rows)
    assert bed.engine.status().batch_size == 5


async def test_admission_counts_on_the_new_batch_size_at_once(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    await admit(bed, steps=LONG)
    await bed.until_steps(1)
    waits = (await admit(bed, steps=LONG, priority=Priority.LOW)).wait_estimate_seconds
    await bed.engine.set_batch_size(4)
    assert (await admit(bed, steps=LONG, priority=Priority.LOW)).wait_estimate_seconds < 1 < waits
