"""Images from admission to pixels: what they are made in, what is told of them, and what fails on the way."""

import asyncio

import pytest
from admitting import LONG, SLOW, admit, pixels_of
from bed import Bed, Make
from bench import image, pair
from fake_model import INFO, picture
from waiting import until

from fluxpool_inference.engine import Pace, RequestFailed
from fluxpool_inference.scheduling.bucket import Bucket


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


async def test_the_longest_that_a_worker_may_be_silent_is_that_of_all_images_that_one_call_decodes(make: Make) -> None:
    bed = make({"decode_seconds": 10.0}, decode_batch_size=4, **SLOW)
    await bed.engine.start()
    await admit(bed, steps=LONG)
    assert bed.lane.longest_expected_seconds() == pytest.approx(4 * 10.0)


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


async def test_a_prompt_said_twice_is_encoded_once(bed: Bed) -> None:
    for _ in range(2):
        (await bed.engine.generate(image())).release()
    assert bed.facts.hits == [False, True]


async def test_under_a_pace_steps_are_held_and_told(make: Make) -> None:
    bed = make(pace=Pace(0.05, 0.01))
    await bed.engine.start()
    with await bed.engine.generate(image(steps=2)) as made:
        assert made.timings.denoise_seconds >= 0.12
    assert bed.facts.overruns == [False, False] or any(bed.facts.overruns)
    assert bed.facts.admitted_work[0] == pytest.approx(0.002 + 2 * 0.06 + 0.002)
