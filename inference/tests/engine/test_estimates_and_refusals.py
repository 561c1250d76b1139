"""What is admitted: the wait that is estimated for it, and what is refused because of it or for what it asks."""

import random

import pytest
from admitting import LONG, SLOW, admit, pixels_of
from bed import Bed, Make
from bench import image, pair

from fluxpool_inference.contract import WAIT_RESERVE
from fluxpool_inference.engine import Priority, Rejected, RejectReason, TooLarge, TooLong, facade

# ---- waits


async def test_an_idle_engine_expects_no_wait_and_a_busy_one_the_rest_of_its_work(make: Make) -> None:
    bed = make({"fixed_seconds": 0.1, "per_row_seconds": 0.0}, batch_size=1)
    await bed.engine.start()
    first = await admit(bed, steps=20, priority=Priority.HIGH)
    assert first.wait_estimate_seconds == 0
    await bed.until_steps(1)
    second = await admit(bed, steps=10, priority=Priority.LOW)
    assert 0.5 < second.wait_estimate_seconds < 2.2
    urgent = await admit(bed, steps=1, priority=Priority.HIGH)
    assert urgent.wait_estimate_seconds <= 0.1, "an urgent image waits for the step that runs"
    assert bed.facts.estimates == [t.wait_estimate_seconds for t in (first, second, urgent)]


async def test_beyond_the_longest_wait_a_request_is_refused_with_the_time_to_come_back(make: Make) -> None:
    bed = make(max_queue_seconds=1.0, batch_size=1, max_steps=1)
    await bed.engine.start()
    await admit(bed, steps=1000)  # about 11 s
    with pytest.raises(Rejected) as refused:
        await bed.engine.admit([image(steps=2000)] * 2, first_attempt=False)
    assert refused.value.reason is RejectReason.WAIT_TOO_LONG
    assert 8 < refused.value.retry_after_seconds < 11.5 * 1.25
    (rejection,) = bed.facts.rejections
    assert rejection == (RejectReason.WAIT_TOO_LONG, 2, pytest.approx(2 * (2000 * 0.011 + 0.004)), False)
    assert len(bed.facts.admitted_work) == 1, "none of the two was admitted"


async def test_a_wait_that_may_turn_out_longer_than_promised_is_refused(make: Make) -> None:
    bed = make({"fixed_seconds": 0.02, "per_row_seconds": 0.0}, batch_size=1, max_queue_seconds=2.0)
    await bed.engine.start()
    await admit(bed, steps=85, priority=Priority.HIGH)
    within = await admit(bed, steps=50, priority=Priority.LOW)
    assert 1.7 <= within.wait_estimate_seconds < 2 / WAIT_RESERVE
    within.cancel()
    await admit(bed, steps=10, priority=Priority.HIGH)
    with pytest.raises(Rejected) as refused:  # at 1.9 s
        await admit(bed, steps=50, priority=Priority.LOW)
    assert refused.value.reason is RejectReason.WAIT_TOO_LONG
    assert 1.9 <= refused.value.retry_after_seconds < 2 * 1.25


async def test_a_full_queue_refuses_the_whole_request(make: Make) -> None:
    bed = make(max_waiting=2, batch_size=1, **SLOW)
    await bed.engine.start()
    await admit(bed, steps=LONG)
    await bed.until_steps(1)
    await admit(bed, steps=LONG)
    with pytest.raises(Rejected) as refused:
        await bed.engine.admit([image()] * 2)
    assert refused.value.reason is RejectReason.QUEUE_FULL
    assert refused.value.retry_after_seconds >= 1
    assert bed.engine.status().waiting == 1


async def test_those_that_are_refused_at_once_are_not_told_to_come_back_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make(max_waiting=1)
    await bed.engine.start()
    told: list[float] = []
    for chance in (0.0, 0.5, 1.0):
        monkeypatch.setattr(random, "random", lambda chance=chance: chance)
        with pytest.raises(Rejected) as refused:
            await bed.engine.admit([image()] * 2)
        told.append(refused.value.retry_after_seconds)
    assert told == [1.0, 1.125, 1.25]


async def test_an_image_that_would_be_late_is_refused_and_one_in_time_is_not(bed: Bed) -> None:
    with pytest.raises(Rejected) as refused:
        await admit(bed, steps=100, deadline_seconds=0.5)
    assert refused.value.reason is RejectReason.DEADLINE
    await pixels_of(await admit(bed, steps=2, deadline_seconds=60))


async def test_who_hangs_up_first_is_served_first_among_those_that_are_as_patient(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    for seed, client_seconds in ((1, None), (2, 86_400.0), (3, 1000.0)):  # an image takes 110 s
        await admit(bed, steps=LONG, seed=seed, priority=Priority.LOW, deadline_seconds=client_seconds)
    assert [entry.request.seed for entry in bed.lane.unfinished] == [3, 1, 2]


async def test_a_long_image_is_overtaken_only_as_long_as_it_can_begin_when_it_was_promised(make: Make) -> None:
    bed = make({"fixed_seconds": 0.05}, batch_size=1, max_queue_seconds=4.0, drain_seconds=1e9)
    await bed.engine.start()
    await admit(bed, steps=40, priority=Priority.HIGH)  # two seconds
    await bed.until_steps(1)
    waiting = await admit(bed, steps=200, priority=Priority.LOW)
    await admit(bed, steps=10, priority=Priority.HIGH)
    assert waiting.wait_estimate_seconds < 4
    with pytest.raises(Rejected) as refused:
        await admit(bed, steps=50, priority=Priority.HIGH)
    assert refused.value.reason is RejectReason.WAIT_TOO_LONG
    assert bed.facts.in_flight == 3


async def test_a_client_that_said_how_long_it_waits_is_not_overtaken_until_it_has_gone(make: Make) -> None:
    bed = make({"fixed_seconds": 0.05}, batch_size=1, **SLOW)
    await bed.engine.start()
    await admit(bed, steps=40, priority=Priority.LOW, deadline_seconds=4.0)
    await bed.until_steps(1)
    await admit(bed, steps=10, priority=Priority.HIGH)
    with pytest.raises(Rejected) as refused:
        await admit(bed, steps=35, priority=Priority.HIGH)
    assert refused.value.reason is RejectReason.WAIT_TOO_LONG


async def test_a_client_that_said_how_long_it_waits_shares_no_steps_that_become_too_long_for_it(make: Make) -> None:
    bed = make({"fixed_seconds": 0.02, "per_row_seconds": 0.02}, batch_size=8, **SLOW)
    await bed.engine.start()
    tight = await admit(bed, steps=100, deadline_seconds=5.0)  # four seconds alone, six with another
    await bed.until_steps(1)
    with pytest.raises(Rejected) as refused:
        await admit(bed, steps=100)
    assert refused.value.reason is RejectReason.WAIT_TOO_LONG
    await admit(bed, steps=8)
    tight.cancel()
    await admit(bed, steps=100)
    assert bed.facts.in_flight == 2


async def test_a_request_that_waits_too_long_is_refused_without_a_second_forecast(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make(batch_size=1, **SLOW | {"max_queue_seconds": 1.0})
    await bed.engine.start()
    await admit(bed, steps=LONG)
    monkeypatch.setattr(facade, "delayed", lambda *_: pytest.fail("it was looked who would be late"))
    with pytest.raises(Rejected):
        await admit(bed, steps=LONG)


# ---- what cannot be made


async def test_a_pair_that_takes_longer_than_a_drain_is_refused_where_its_image_alone_is_not(make: Make) -> None:
    bed = make(drain_seconds=40, max_queue_seconds=30, max_steps=50)
    await bed.engine.start()
    with pytest.raises(TooLong, match=r"takes 11 s on this server, which finishes requests of at most 10 s"):
        await bed.engine.admit([pair(steps=500)])
    (await admit(bed, steps=500)).cancel()
    assert bed.facts.rejections == []


async def test_a_size_of_which_memory_does_not_hold_one_image_is_refused_and_the_others_are_made(make: Make) -> None:
    bed = make({"room_bytes": 100_000})  # decoding takes 10 bytes per pixel
    await bed.engine.start()
    with pytest.raises(TooLarge, match=r"is 128x128 with 16384: it takes 0\.0 GB") as raised:
        await bed.engine.admit([image(width=128, height=128)])
    assert raised.value.problem.startswith("must have at most 9984 pixels (width x height)")
    (await bed.engine.generate(image(width=96, height=96))).release()
    bed.assert_nothing_in_flight()
    assert bed.facts.rejections == []


async def test_a_guidance_scale_for_a_model_without_guidance_is_an_error(make: Make) -> None:
    bed = make({"guidance_embeds": False})
    await bed.engine.start()
    with pytest.raises(ValueError, match="guidance"):
        await bed.engine.admit([image(), image(guidance=3.5)])
    bed.assert_nothing_in_flight()
    assert bed.facts.rejections == []


def test_a_prompt_that_is_no_unicode_is_refused_before_it_is_admitted() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        image("\ud800")
