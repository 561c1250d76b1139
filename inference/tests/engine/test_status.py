"""What an engine tells of itself: before its start, of the costs and rows it counts on, and of sizes it has not met."""

import dataclasses
import time

import pytest
from admitting import LONG, SLOW, admit, assert_made
from bed import Bed, Make, alive
from bench import image, pair
from fake_model import INFO
from waiting import until

from fluxpool_inference.engine import Rejected, RejectReason, WorkerState
from fluxpool_inference.scheduling.bucket import Bucket


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


async def test_the_status_says_no_more_rows_than_memory_was_seen_to_hold(make: Make) -> None:
    bed = make({"room_bytes": 100_000, "rows_held": 2}, batch_size=4)
    await bed.engine.start()

    def rows() -> int:
        memory = bed.engine.status().workers[0].memory
        assert memory is not None
        return memory.rows

    assert rows() >= 4, "as it was measured"
    await assert_made(*await bed.engine.admit([image(seed=seed) for seed in range(4)]))
    assert rows() == 2
    assert bed.lane.serving.memory is not None
    bed.lane.serving.memory = dataclasses.replace(bed.lane.serving.memory, room_bytes=0)
    assert rows() == 0, "the lesser of both"


async def test_what_images_keep_on_the_device_is_counted_here_as_there_and_leaves_fewer_rows(make: Make) -> None:
    bucket = Bucket.of(image(), INFO.max_sequence_length)
    bed = make({"room_bytes": 100 * 10 * bucket.tokens}, **SLOW)
    await bed.engine.start()

    def memory() -> tuple[int, int]:
        found = bed.engine.status().workers[0].memory
        assert found is not None
        return found.in_flight_bytes, found.rows

    assert memory() == (0, 100)
    await bed.engine.admit([image(steps=LONG), pair(steps=LONG)])
    await until(lambda: memory() == (3 * bucket.tokens, 99))  # a byte per token of each row
    bed.lane.serving.limits.keeps([])
    bed.lane.forecast([], time.monotonic())
    assert bed.lane.serving.limits.in_flight_bytes == 3 * bucket.tokens, "forecasts count on it"


async def test_what_a_worker_does_began_when_it_was_given_something_to_do(bed: Bed) -> None:
    assert bed.lane.working_since() is None
    given = time.monotonic()
    await admit(bed)
    since = bed.lane.working_since()
    assert since is not None
    assert since >= given, "its idle time is no busy time, and no part of a step"
