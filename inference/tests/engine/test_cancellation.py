"""Images given up at any stage: their rows go to others, their work is taken off, and each ends once."""

import asyncio

import pytest
from admitting import LONG, SLOW, admit, pixels_of
from bed import Bed, Make
from bench import image
from fake_model import picture
from waiting import until

from fluxpool_inference.engine import Priority, RawImage, Stage


async def test_a_cancelled_image_frees_its_row_at_the_next_step(make: Make) -> None:
    bed = make(batch_size=2, **SLOW)
    await bed.engine.start()
    victim, kept = await bed.engine.admit([image(steps=LONG, seed=seed) for seed in (1, 2)])
    waiting = await admit(bed, steps=LONG, priority=Priority.LOW)
    await until(lambda: bed.facts.rows[-3:] == [2, 2, 2])
    victim.cancel()
    await until(lambda: len(bed.facts.waits) == 3)
    ((stage, remaining),) = bed.facts.cancellations
    assert stage is Stage.DENOISE
    assert 0 < remaining < LONG * 0.011
    kept.cancel()
    await until(lambda: bed.facts.rows[-1] == 1)
    waiting.cancel()
    bed.assert_nothing_in_flight()


async def test_a_cancelled_image_that_waited_leaves_the_queue_with_all_its_work(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    running = await admit(bed, steps=LONG)
    waiting = await admit(bed, steps=LONG, priority=Priority.LOW)
    await bed.until_steps(1)
    work = pytest.approx(0.002 + LONG * 0.011 + 0.002)
    status = bed.engine.status()
    assert (status.waiting, status.running) == (1, 1)
    assert status.queued_work_seconds == work
    assert 0 < status.running_work_seconds < status.queued_work_seconds
    waiting.cancel()
    assert bed.facts.cancellations == [(Stage.QUEUE, work)]
    status = bed.engine.status()
    assert (status.waiting, status.running, status.queued_work_seconds) == (0, 1, 0)
    running.cancel()
    bed.assert_nothing_in_flight()


async def test_a_cancelled_await_cancels_the_image(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    awaiting = asyncio.create_task(bed.engine.generate(image(steps=LONG)))
    await bed.until_steps(1)
    awaiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await awaiting
    assert [stage for stage, _ in bed.facts.cancellations] == [Stage.DENOISE]
    bed.assert_nothing_in_flight()


async def test_a_second_cancellation_and_one_after_the_end_change_nothing(bed: Bed) -> None:
    ticket = await admit(bed, steps=LONG // 10, deadline_seconds=60)
    ticket.cancel()
    ticket.cancel()
    done = await admit(bed)
    await pixels_of(done)
    done.cancel()
    assert (len(bed.facts.cancellations), len(bed.facts.finishes)) == (1, 1)
    bed.assert_nothing_in_flight()


async def test_pixels_cancelled_before_they_are_released_count_as_cancelled_while_responding(bed: Bed) -> None:
    ticket = await admit(bed)
    made = await ticket.result()
    ticket.cancel()
    with pytest.raises(ValueError, match="released"):
        _ = made.pixels
    made.release()
    assert bed.facts.cancellations == [(Stage.RESPOND, 0.0)]
    assert bed.facts.finishes == []
    bed.assert_nothing_in_flight()


@pytest.mark.usefixtures("no_leaks")
async def test_pixels_that_come_for_a_cancelled_image_are_dropped(make: Make) -> None:
    bed = make({"decode_seconds": 0.2})
    await bed.engine.start()
    victim = await admit(bed, steps=1)
    await bed.until_steps(1)  # it is being decoded
    victim.cancel()
    other = await admit(bed, steps=1)
    assert await pixels_of(other) == picture(other.request)
    assert [stage for stage, _ in bed.facts.cancellations] == [Stage.DECODE]
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def test_an_await_cancelled_in_the_moment_of_the_result_gives_the_image_up_once(bed: Bed) -> None:
    ticket = await admit(bed, steps=1)
    awaiting = asyncio.create_task(ticket.result())
    await asyncio.sleep(0)
    ticket._entry.result.add_done_callback(lambda _: awaiting.cancel())  # type: ignore[attr-defined]
    outcome: list[RawImage | BaseException] = await asyncio.gather(awaiting, return_exceptions=True)
    if isinstance(outcome[0], RawImage):
        outcome[0].release()
    assert len(bed.facts.cancellations) + len(bed.facts.finishes) == 1
    bed.assert_nothing_in_flight()
