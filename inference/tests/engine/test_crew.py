"""Several workers: one starts at least, each has its share, and what one cannot do any more the others do."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from admitting import LONG, SLOW, admit, assert_made
from bed import Bed, Make, alive
from bench import image
from waiting import until

from fluxpool_inference.engine import RequestFailed, StartError, TooLarge, WorkerState, process, watchdog
from fluxpool_inference.engine import supervisor as supervision
from fluxpool_inference.engine.process import environment_of
from fluxpool_inference.engine.supervisor import DEATHS_IN_A_ROW
from fluxpool_inference.scheduling.memory import Memory, PeakLine


async def crew(make: Make, workers: int = 2, **options: Any) -> Bed:
    """An engine all of whose workers serve."""
    bed = make(workers=workers, **options)
    await bed.engine.start()
    await bed.until_all_serve()
    return bed


def gone(pid: int) -> bool:
    """Whether a process has closed its files: its last thread has, after the first one has become its corpse."""
    try:
        return not alive(pid) and len(list(Path(f"/proc/{pid}/task").iterdir())) <= 1
    except OSError:  # somebody has waited for it
        return True


def shares(bed: Bed) -> list[int]:
    return [worker.in_flight for worker in bed.engine.status().workers]


# ---- their share


@pytest.mark.usefixtures("no_leaks")
async def test_images_go_to_the_worker_with_the_least_work(make: Make) -> None:
    bed = await crew(make)
    first = await admit(bed, steps=60)
    assert shares(bed) == [1, 0]
    short = [await admit(bed, seed=seed, steps=8) for seed in range(2, 5)]
    assert shares(bed) == [1, 3], "three short ones are less work than the long one"
    works = [worker.remaining_work_seconds for worker in bed.engine.status().workers]
    assert works[0] > works[1] > 0
    await assert_made(first, *short)
    assert len({worker.pid for worker in bed.engine.status().workers}) == 2
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def test_the_images_of_one_request_are_shared_among_workers_and_wait_for_none(make: Make) -> None:
    bed = await crew(make, batch_size=1)
    tickets = await bed.engine.admit([image(seed=seed) for seed in range(2)])
    assert shares(bed) == [1, 1]
    assert [ticket.wait_estimate_seconds for ticket in tickets] == [0, 0]
    await assert_made(*tickets)


async def test_a_worker_that_runs_dry_takes_what_waits_for_another(make: Make) -> None:
    bed = await crew(make, batch_size=1, **SLOW)
    gone, _, _, waiting = [await admit(bed, steps=LONG, seed=seed) for seed in range(4)]
    await until(lambda: len(bed.facts.waits) == 2)
    assert shares(bed) == [2, 2]
    gone.cancel()
    await until(lambda: len(bed.facts.waits) == 3)
    assert shares(bed) == [1, 2]
    (second_of_first,) = bed.engine._crew.lanes[0].unfinished
    bed.engine._cancel(second_of_first)
    await until(lambda: len(bed.facts.waits) == 4)
    assert shares(bed) == [1, 1], "the image that waited for the second worker is with the first"
    assert waiting.request == next(iter(bed.engine._crew.lanes[0].unfinished)).request


async def test_a_batch_size_is_that_of_each_worker(make: Make) -> None:
    bed = await crew(make, batch_size=1, **SLOW)
    for seed in range(6):
        await admit(bed, steps=LONG, seed=seed)
    await bed.until_steps(4)
    assert set(bed.facts.rows) == {1}
    await bed.engine.set_batch_size(3)
    await until(lambda: bed.facts.rows[-6:] == [3] * 6)


async def test_a_size_must_fit_into_the_memory_of_each_worker_that_serves_since_images_move(make: Make) -> None:
    bed = await crew(make)
    large = image(width=128, height=128)
    for lane in bed.engine._crew.lanes:
        bucket = lane.serving.costs.calibration.reference
        lane.serving.memory = Memory(bucket, PeakLine(0.0, 10.0), 0, 10 * bucket.pixels, 1.0, 1.0, room_bytes=100_000)
        with pytest.raises(TooLarge, match="at most 9984 pixels"):
            await bed.engine.admit([large])
        lane.serving.memory = None
    (await bed.engine.generate(large)).release()
    bed.assert_nothing_in_flight()


async def test_a_drain_waits_for_every_worker(make: Make) -> None:
    bed = await crew(make, batch_size=1)
    tickets = await bed.engine.admit([image(seed=seed, steps=20) for seed in range(3)])
    draining = asyncio.create_task(bed.engine.drain())
    await assert_made(*tickets[:2])
    assert not draining.done()
    await assert_made(tickets[2])
    await draining


# ---- starts


async def test_a_worker_that_does_not_start_is_told_of_and_tried_again_while_another_serves(make: Make) -> None:
    bed = make(workers=2)
    bed.order("refused", "death", worker=0)
    await bed.engine.start()
    assert bed.engine.status().ready
    await assert_made(await admit(bed))
    await bed.until_all_serve()
    first, second = bed.engine.status().workers
    assert (first.deaths, second.deaths) == (2, 0)
    assert first.problem is not None
    assert first.problem.startswith("the worker ended while it loaded the model: it was ended by SIGKILL")
    assert second.problem is None
    assert len(bed.facts.stages) == 2
    assert bed.facts.exits == [], "none that served died"


@pytest.mark.usefixtures("no_leaks")
async def test_if_no_worker_starts_the_first_ones_reason_is_told(make: Make) -> None:
    bed = make(workers=2)
    bed.order("refused", worker=0)
    bed.order("exit", worker=1)
    with pytest.raises(StartError, match="the device is on holiday"):
        await bed.engine.start()
    assert not any(alive(pid) for pid in bed.starts)
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
async def test_a_worker_that_still_loads_holds_up_neither_the_start_nor_the_stop(make: Make) -> None:
    bed = make(workers=2)
    bed.order("hang", worker=1)
    await bed.engine.start()
    await until(lambda: len(bed.starts) == 2)
    assert [worker.state for worker in bed.engine.status().workers] == [WorkerState.READY, WorkerState.STARTING]
    await assert_made(await admit(bed))
    await bed.engine.stop()
    assert not any(alive(pid) for pid in bed.starts)


async def test_a_worker_that_comes_late_takes_its_share_of_what_waits(make: Make) -> None:
    bed = make(workers=2, batch_size=1, **SLOW)
    bed.order("refused", worker=1)
    await bed.engine.start()
    for seed in range(4):
        await admit(bed, steps=LONG, seed=seed)
    assert shares(bed) == [4, 0]
    await until(lambda: shares(bed) == [2, 2])
    await until(lambda: len(bed.facts.waits) == 2)


def test_each_of_several_workers_sees_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv(variable, raising=False)
    assert variable not in environment_of(0, 1)
    assert [environment_of(index, 2)[variable] for index in (0, 1)] == ["0", "1"]
    monkeypatch.setenv(variable, "GPU-a,GPU-b")
    assert environment_of(0, 1)[variable] == "GPU-a,GPU-b"
    assert [environment_of(index, 3)[variable] for index in (0, 1, 2)] == ["GPU-a", "GPU-b", ""]


async def test_a_bug_in_a_start_is_not_taken_for_a_worker_that_does_not_start(make: Make) -> None:
    crew_of_one = make().engine._crew
    (lane,) = crew_of_one.lanes
    with pytest.raises(RuntimeError, match="worker 0 has not been ready"):
        _ = lane.serving

    async def start() -> None:
        raise ValueError("a bug")

    task = asyncio.create_task(start())
    await asyncio.wait([task])
    with pytest.raises(ValueError, match="a bug"):
        crew_of_one._started(lane, task)
    assert lane.supervisor.state is WorkerState.STARTING


# ---- deaths


@pytest.mark.usefixtures("no_leaks")
async def test_what_a_worker_had_when_it_died_runs_again_on_another_at_once(make: Make) -> None:
    bed = await crew(make)
    tickets = [await admit(bed, steps=40, seed=seed) for seed in range(4)]
    await bed.until_steps(4)
    bed.order("hang", worker=0)
    bed.kill(0)
    await assert_made(*tickets)
    state = bed.engine.status().workers[0]
    assert (state.state, state.deaths) == (WorkerState.RESTARTING, 1)
    assert state.problem is not None
    assert bed.engine.status().ready
    assert len(bed.facts.waits) == 4, "each waited once"
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def test_an_image_that_two_workers_die_over_fails_and_its_neighbours_do_not(make: Make) -> None:
    bed = await crew(make, workers=2, batch_size=1)
    poison = await admit(bed, "death at step 2")
    others = [await admit(bed, seed=seed, steps=30) for seed in range(2, 6)]
    with pytest.raises(RequestFailed, match="the worker died twice while it made this image: it was ended by SIGKILL"):
        await poison.result()
    await assert_made(*others)
    assert len(bed.facts.exits) == 2
    assert len(bed.facts.failures) == 1
    bed.assert_nothing_in_flight()


async def test_a_worker_that_is_given_up_is_missed_and_the_others_serve_on(make: Make) -> None:
    bed = await crew(make)
    bed.order(*["refused"] * DEATHS_IN_A_ROW, worker=1)
    bed.kill(1)
    await bed.until_state(WorkerState.STOPPED, worker=1)
    assert bed.engine.status().ready
    assert bed.engine.status().workers[1].deaths == DEATHS_IN_A_ROW
    await assert_made(*[await admit(bed, seed=seed) for seed in range(3)])
    ticket = await admit(bed, steps=LONG // 100)
    bed.order(*["refused"] * DEATHS_IN_A_ROW, worker=0)
    bed.kill(0)
    with pytest.raises(RequestFailed, match="no worker is left: the device is on holiday"):
        await ticket.result()
    bed.assert_nothing_in_flight()


async def test_while_all_workers_are_away_images_wait_for_the_first_that_comes_back(make: Make) -> None:
    bed = await crew(make)
    tickets = [await admit(bed, steps=40, seed=seed) for seed in range(4)]
    await bed.until_steps(2)
    bed.order("hang", worker=0)
    pids = [bed.pid_of(worker) for worker in (0, 1)]
    for worker in (0, 1):
        bed.kill(worker)
    while not all(gone(pid) for pid in pids):
        time.sleep(0.001)  # noqa: ASYNC251 - the engine must hear of both at once, and take neither for alive
    await assert_made(*tickets)
    assert len(bed.facts.exits) == 2
    bed.assert_nothing_in_flight()


async def test_a_restart_that_hangs_is_ended_and_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_LONGEST_RESTART_SECONDS", 1.5)
    bed = make()
    await bed.engine.start()
    bed.order("hang", "ok")
    bed.kill()
    await bed.restarted()
    (worker,) = bed.engine.status().workers
    assert (worker.deaths, worker.problem) == (2, "the worker was not ready within 1.5 s")


# ---- hangs


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("quick_looks")
async def test_a_worker_that_hangs_in_a_step_is_killed_and_its_images_run_elsewhere(make: Make) -> None:
    bed = await crew(make, watchdog_seconds=0.5, batch_size=1)
    stuck = await admit(bed, "hang at step 1")
    behind = [await admit(bed, seed=seed, steps=10) for seed in range(2, 6)]
    with pytest.raises(RequestFailed, match=r"died twice.*it said nothing for \d+ s in work of at most 0\.01 s"):
        await stuck.result()
    await assert_made(*behind)
    assert len(bed.facts.exits) == 2
    bed.assert_nothing_in_flight()


@pytest.fixture
def freeze(make: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes a process as one in a driver that hangs: it hears neither the end of its socket nor that it is killed."""
    frozen: list[int] = []
    true_kill = asyncio.subprocess.Process.kill

    def kill(process: asyncio.subprocess.Process) -> None:
        if process.pid not in frozen:
            true_kill(process)

    def freeze(pid: int) -> None:
        frozen.append(pid)
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)  # until its last thread has

    monkeypatch.setattr(asyncio.subprocess.Process, "kill", kill)
    yield freeze
    for pid in filter(alive, frozen):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("quick_looks")
async def test_images_of_a_worker_that_cannot_be_killed_run_elsewhere_at_once_and_it_gets_no_more(
    make: Make, freeze: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    bed = await crew(make, watchdog_seconds=0.5, batch_size=1)
    tickets = [await admit(bed, seed=seed, steps=30) for seed in range(4)]
    assert shares(bed) == [2, 2]
    await bed.until_steps(2)
    stuck = bed.pid_of(0)
    freeze(stuck)
    await assert_made(*tickets)
    for seed in range(4, 6):
        await assert_made(await admit(bed, seed=seed))
    worker = bed.engine.status().workers[0]
    assert (worker.state, worker.pid, worker.deaths) == (WorkerState.ENDING, stuck, 1)
    assert worker.problem is not None
    assert worker.problem.startswith("it said nothing for")
    await asyncio.sleep(3 * watchdog.LOOK_SECONDS)
    assert len(bed.facts.exits) == 1
    assert [record.levelname for record in caplog.records].count("ERROR") == 1, "told once"
    assert len(bed.starts) == 2, "nobody takes its device while it is there"
    os.kill(stuck, signal.SIGKILL)
    await bed.until_all_serve()
    assert bed.pid_of(0) != stuck
    bed.assert_nothing_in_flight()


@pytest.mark.usefixtures("quick_looks")
async def test_if_the_only_worker_cannot_be_ended_its_images_fail_with_the_reason(
    make: Make, freeze: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_HANG_UP_SECONDS", 0.1)
    monkeypatch.setattr(process, "_KILLED_SECONDS", 0.1)
    bed = make(watchdog_seconds=0.5, **SLOW)
    await bed.engine.start()
    ticket = await admit(bed, steps=LONG)
    await bed.until_steps(2)
    freeze(bed.pid)
    with pytest.raises(RequestFailed, match=r"no worker is left: it said nothing .* its process cannot be ended"):
        await ticket.result()
    assert bed.state is WorkerState.STOPPED, "so the pod is not alive any more"


async def test_a_worker_that_hung_up_and_stays_is_lost_all_the_same(
    make: Make, freeze: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_HANG_UP_SECONDS", 0.1)
    bed = await crew(make)
    tickets = [await admit(bed, seed=seed, steps=20) for seed in range(2)]
    await bed.until_steps(2)
    freeze(bed.pid_of(0))
    bed.lane.supervisor._worker._peer._end()  # type: ignore[union-attr]  # as if it had closed its end
    await assert_made(*tickets)
    assert bed.facts.exits == ["it hung up and did not end"]
    bed.assert_nothing_in_flight()


@pytest.mark.usefixtures("quick_looks")
async def test_steps_that_take_long_are_no_hang_and_neither_is_having_nothing_to_do(make: Make) -> None:
    bed = make({"fixed_seconds": 0.3}, watchdog_seconds=0.1)
    await bed.engine.start()
    await assert_made(await admit(bed, steps=2))
    await asyncio.sleep(0.3)
    assert bed.facts.exits == []
