"""The facade from admission to pixels: estimates, refusals, cancellation and batch size."""

import asyncio

import pytest
from admitting import LONG, SLOW, admit, pixels_of
from bed import Bed, Make, alive
from bench import image, pair
from fake_model import INFO, picture
from waiting import until

from fluxpool_inference.engine import (
    Pace,
    Priority,
    RawImage,
    Rejected,
    RejectReason,
    RequestFailed,
    Stage,
    TooLarge,
    TooLong,
    WorkerState,
)
from fluxpool_inference.scheduling.bucket import Bucket

# ---- images


@pytest.mark.usefixtures("no_leaks")
async def test_an_image_is_made_handed_over_and_told_of(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    request = image("one two three four five six seven eight nine", steps=3, seed=9)
    with await bed.engine.generate(request) as made:
        assert bytes(made.pixels) == picture(request)
        assert made.pixels.shape == (64, 64, 3)
        assert made.request is request
        assert made.truncated_tokens == 1
        timings = made.timings
        assert timings.encode_seconds >= 0.002
        assert timings.denoise_seconds >= 3 * 0.011
        assert timings.decode_seconds >= 0.002
        parts = timings.wait_seconds + timings.encode_seconds + timings.denoise_seconds + timings.decode_seconds
        assert parts <= timings.total_seconds
        status = bed.engine.status()
        assert (status.waiting, status.running) == (0, 1), "until its pixels are released"
        assert status.running_work_seconds == 0
        assert bed.facts.finishes == []
    assert len(bed.facts.finishes) == 1
    assert bed.facts.rows == [1, 1, 1]
    assert bed.facts.hits == [False]
    assert len(bed.facts.waits) == 1
    assert sum(bed.facts.busy_seconds) == pytest.approx(
        timings.encode_seconds + timings.denoise_seconds + timings.decode_seconds
    )
    assert bed.facts.admitted_work == [pytest.approx(0.002 + 3 * 0.011 + 0.002)]
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def test_a_pair_of_true_cfg_is_made_as_two_rows(bed: Bed) -> None:
    request = pair("one", negative="one two three four five six seven eight nine", steps=3, seed=9)
    with await bed.engine.generate(request) as made:
        assert bytes(made.pixels) == picture(request)
        assert (made.truncated_tokens, made.negative_truncated_tokens) == (0, 1)
    assert bed.facts.rows == [2, 2, 2]
    assert bed.facts.hits == [False, False]
    assert bed.facts.admitted_work == [pytest.approx(2 * 0.002 + 3 * 2 * 0.011 + 0.002)]
    bed.assert_nothing_in_flight()


async def test_a_pair_where_one_row_fits_is_two_steps_of_one_row(bed: Bed) -> None:
    await bed.engine.set_batch_size(1)
    tickets = await bed.engine.admit([pair(steps=3, seed=9), image(steps=2)])
    assert [await pixels_of(ticket) for ticket in tickets] == [picture(ticket.request) for ticket in tickets]
    assert bed.facts.rows == [1] * 8
    bed.assert_nothing_in_flight()


async def test_the_longest_that_a_worker_may_be_silent_is_that_of_a_pair(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    await admit(bed, steps=LONG)
    alone = bed.lane.longest_expected_seconds()
    await bed.engine.admit([pair(steps=LONG)])
    assert bed.lane.longest_expected_seconds() >= 1.5 * alone, "its two forwards are one report"


async def test_released_pixels_are_gone_and_released_once(bed: Bed) -> None:
    made = await bed.engine.generate(image())
    made.release()
    made.release()
    with pytest.raises(ValueError, match="released"):
        _ = made.pixels
    assert len(bed.facts.finishes) == 1


async def test_images_of_one_request_share_steps(bed: Bed) -> None:
    requests = [image(seed=seed, steps=20) for seed in (1, 2, 3)]
    tickets = await bed.engine.admit(requests)
    assert [await pixels_of(ticket) for ticket in tickets] == [picture(request) for request in requests]
    assert max(bed.facts.rows) == 3
    bed.assert_nothing_in_flight()


@pytest.mark.usefixtures("no_leaks")
async def test_many_images_leave_no_descriptor_and_no_memory(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    requests = [image(seed=seed, steps=1) for seed in range(60)]
    made = await asyncio.gather(*(pixels_of(ticket) for ticket in await bed.engine.admit(requests)))
    assert made == [picture(request) for request in requests]
    await bed.engine.stop()


async def test_an_image_that_fails_fails_alone_and_says_why(bed: Bed) -> None:
    good = await admit(bed)
    bad = await admit(bed, prompt="error at step 2")
    with pytest.raises(RequestFailed, match="denoising failed: a planted error"):
        await bad.result()
    assert await pixels_of(good) == picture(good.request)
    assert (len(bed.facts.failures), len(bed.facts.finishes)) == (1, 1)
    bed.assert_nothing_in_flight()


async def test_a_failure_that_nobody_awaits_is_no_error_of_the_loop(bed: Bed) -> None:
    await admit(bed, prompt="error at encode")  # pytest would fail on "exception was never retrieved"
    await until(lambda: len(bed.facts.failures) == 1)


async def test_want_of_memory_lowers_the_rows_that_admission_counts_on(make: Make) -> None:
    bed = make({"rows_held": 2}, batch_size=8)
    await bed.engine.start()
    tickets = await bed.engine.admit([image(seed=seed, steps=6) for seed in range(4)])
    await asyncio.gather(*(pixels_of(ticket) for ticket in tickets))
    assert bed.lane.serving.limits(Bucket.of(image(), INFO.max_sequence_length)) == 2


async def test_a_size_of_which_memory_does_not_hold_one_image_is_refused_and_the_others_are_made(make: Make) -> None:
    bed = make({"room_bytes": 100_000})  # decoding takes 10 bytes per pixel
    await bed.engine.start()
    with pytest.raises(TooLarge, match=r"is 128x128 with 16384: it takes 0\.0 GB") as raised:
        await bed.engine.admit([image(width=128, height=128)])
    assert raised.value.problem.startswith("must have at most 9984 pixels (width x height)")
    (await bed.engine.generate(image(width=96, height=96))).release()
    bed.assert_nothing_in_flight()
    assert bed.facts.rejections == []


async def test_forecasts_count_on_the_rows_that_fit_and_the_status_says_what_does(make: Make) -> None:
    bed = make({"room_bytes": 45_000}, batch_size=8)
    await bed.engine.start()
    worker = bed.engine.status().workers[0]
    bucket = Bucket.of(image(), INFO.max_sequence_length)
    assert worker.memory is not None
    assert (worker.memory.rows, worker.memory.step_row_bytes) == (4500 // bucket.tokens, 10 * bucket.tokens)
    assert worker.memory.decode_bytes == 40960
    assert worker.memory.largest_pixels >= 64 * 64
    assert bed.lane.serving.limits(bucket) == 8, "the batch size is less"


async def test_a_prompt_said_twice_is_encoded_once(bed: Bed) -> None:
    for _ in range(2):
        (await bed.engine.generate(image())).release()
    assert bed.facts.hits == [False, True]


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


async def test_under_a_pace_steps_are_held_and_told(make: Make) -> None:
    bed = make(pace=Pace(0.05, 0.01))
    await bed.engine.start()
    with await bed.engine.generate(image(steps=2)) as made:
        assert made.timings.denoise_seconds >= 0.12
    assert bed.facts.overruns == [False, False] or any(bed.facts.overruns)
    assert bed.facts.admitted_work[0] == pytest.approx(0.002 + 2 * 0.06 + 0.002)


# ---- estimates and refusals


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


async def test_an_image_that_would_be_late_is_refused_and_one_in_time_is_not(bed: Bed) -> None:
    with pytest.raises(Rejected) as refused:
        await admit(bed, steps=100, deadline_seconds=0.5)
    assert refused.value.reason is RejectReason.DEADLINE
    await pixels_of(await admit(bed, steps=2, deadline_seconds=60))


async def test_a_pair_that_takes_longer_than_a_drain_is_refused_where_its_image_alone_is_not(make: Make) -> None:
    bed = make(drain_seconds=40, max_queue_seconds=30, max_steps=50)
    await bed.engine.start()
    with pytest.raises(TooLong, match=r"takes 11 s on this server, which finishes requests of at most 10 s"):
        await bed.engine.admit([pair(steps=500)])
    (await admit(bed, steps=500)).cancel()
    assert bed.facts.rejections == []


async def test_before_the_start_a_request_is_refused_and_there_is_no_model(make: Make) -> None:
    bed = make()
    with pytest.raises(Rejected) as refused:
        await admit(bed)
    assert refused.value.reason is RejectReason.NOT_READY
    assert bed.facts.rejections == [(RejectReason.NOT_READY, 1, 0.0, True)]
    with pytest.raises(RuntimeError):
        _ = bed.engine.model
    with pytest.raises(RuntimeError):
        bed.engine.cost_is_predicted(image())
    status = bed.engine.status()
    assert (status.model, status.ready, status.warm_buckets) == (None, False, ())
    assert status.workers[0].state is WorkerState.STARTING


async def test_the_status_of_a_served_engine_tells_what_was_calibrated(bed: Bed) -> None:
    status = bed.engine.status()
    assert status.ready
    assert status.model == bed.engine.model
    (warm,) = status.warm_buckets
    assert (warm.width, warm.height) == (64, 64)
    assert warm.fixed_seconds == status.step_fixed_seconds == pytest.approx(0.01)
    assert warm.per_row_seconds == status.step_per_row_seconds == pytest.approx(0.001)
    assert (status.batch_size, status.batch_size_min, status.batch_size_max) == (4, 1, 32)
    assert alive(bed.pid)
    assert status.utilization.source == "engine_busy"
    assert (status.memory.used_bytes, status.memory.total_bytes) == (0, 0)


async def test_a_size_that_was_not_measured_is_told_as_predicted_once_it_is_admitted(make: Make) -> None:
    bed = make(max_waiting=1)
    await bed.engine.start()
    other = image(width=32)
    assert bed.engine.cost_is_predicted(other)
    assert not bed.engine.cost_is_predicted(image())
    with pytest.raises(Rejected):
        await bed.engine.admit([other, other])
    assert bed.engine.status().predicted_buckets == (), "a refused size is none that runs"
    (await bed.engine.generate(image())).release()
    (await bed.engine.generate(other)).release()
    (predicted,) = bed.engine.status().predicted_buckets
    assert (predicted.width, predicted.height) == (32, 64)
    assert predicted.per_row_seconds < bed.engine.status().step_per_row_seconds


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


# ---- cancellation


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


# ---- batch size


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
