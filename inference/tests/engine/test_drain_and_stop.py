"""The end of an engine: what was admitted is finished in a drain, and given up in a stop."""

import asyncio

import pytest
from admitting import LONG, SLOW, admit, pixels_of
from bed import Bed, Make, alive
from bench import image
from fake_model import picture
from waiting import until

from fluxpool_inference.engine import (
    Rejected,
    RejectReason,
    RequestFailed,
    Ticket,
    WorkerState,
)


async def test_draining_refuses_new_requests_and_ends_when_the_last_pixels_are_released(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    first, second = await admit(bed, steps=20), await admit(bed, steps=30, seed=2)
    draining = asyncio.create_task(bed.engine.drain())
    await asyncio.sleep(0)
    with pytest.raises(Rejected) as refused:
        await admit(bed)
    assert refused.value.reason is RejectReason.DRAINING
    status = bed.engine.status()
    assert (status.ready, status.draining) == (False, True)
    made = await first.result()
    await pixels_of(second)
    await asyncio.sleep(0)
    assert not draining.done()
    made.release()
    await draining
    bed.assert_nothing_in_flight()


async def lowered(bed: Bed, images: int, steps: int) -> list[Ticket]:
    """Images that were admitted as the rows of one step, and run one by one since."""
    tickets = await bed.engine.admit([image(seed=seed, steps=steps) for seed in range(images)])
    await until(lambda: bed.facts.rows[-1:] == [images])
    await bed.engine.set_batch_size(1)
    await until(lambda: bed.facts.rows[-1] == 1)
    return tickets


async def test_a_drain_takes_the_steps_that_admission_counted_on_though_the_batch_size_was_lowered(make: Make) -> None:
    bed = make(batch_size=4)
    await bed.engine.start()
    tickets = await lowered(bed, images=4, steps=100)
    draining = asyncio.create_task(bed.engine.drain())
    await until(lambda: bed.facts.rows[-1] == 4)
    assert await bed.engine.set_batch_size(1) == 1
    assert bed.engine.status().batch_size == 1, "what was set is what is told"
    await asyncio.gather(*(pixels_of(ticket) for ticket in tickets))
    await draining
    assert len(bed.facts.rows) < 2 * 100, "admission saw 100 steps; one by one they are 400"


async def test_a_worker_that_comes_while_the_engine_drains_has_the_rows_of_the_drain(make: Make) -> None:
    bed = make(batch_size=4)
    await bed.engine.start()
    tickets = await lowered(bed, images=4, steps=100)
    draining = asyncio.create_task(bed.engine.drain())
    bed.kill()
    await bed.restarted()
    steps = len(bed.facts.rows)
    await asyncio.gather(*(pixels_of(ticket) for ticket in tickets))
    await draining
    # On a busy machine the worker begins before it has heard of all four, and ends one after another.
    assert bed.facts.rows[steps:].count(4) > 50


async def test_an_idle_engine_drains_at_once_and_one_that_never_started_too(bed: Bed, make: Make) -> None:
    await bed.engine.drain()
    await make().engine.drain()


async def test_a_failure_and_a_cancellation_end_a_drain_as_well(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    cancelled = await admit(bed, steps=LONG)
    await admit(bed, prompt="error at step 3")
    draining = asyncio.create_task(bed.engine.drain())
    await until(lambda: len(bed.facts.failures) == 1)
    cancelled.cancel()
    await draining


async def test_a_stop_fails_what_is_in_flight_ends_the_worker_and_may_be_repeated(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    pid = bed.pid
    ticket = await admit(bed, steps=LONG)
    await bed.until_steps(1)
    await bed.engine.stop()
    with pytest.raises(RequestFailed, match="the server was stopped"):
        await ticket.result()
    await bed.engine.stop()
    assert not alive(pid)
    assert bed.state is WorkerState.STOPPED
    assert bed.engine.status().workers[0].pid is None
    assert bed.facts.exits == [], "it was asked to"
    bed.assert_nothing_in_flight()
    with pytest.raises(Rejected):
        await admit(bed)


async def test_pixels_handed_over_before_a_stop_stay_until_they_are_released(bed: Bed) -> None:
    request = image()
    made = await bed.engine.generate(request)
    await bed.engine.stop()
    assert bytes(made.pixels) == picture(request)
    made.release()
    assert len(bed.facts.finishes) == 1
    bed.assert_nothing_in_flight()


async def test_an_engine_that_never_started_can_be_stopped(make: Make) -> None:
    bed = make()
    await bed.engine.stop()
    assert bed.starts == []
