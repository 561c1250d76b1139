"""Workers that die, in mid-request and out of it: what was admitted runs again, once, and nothing is lost."""

import asyncio
import time
from typing import Any

import pytest
from admitting import LONG, SLOW, admit, assert_made
from bed import Bed, Make, alive
from bench import image
from fake_model import picture
from waiting import until

from fluxpool_inference.engine import Rejected, RejectReason, RequestFailed, WorkerState
from fluxpool_inference.engine.supervisor import DEATHS_IN_A_ROW
from fluxpool_inference.ipc.messages import Started


@pytest.mark.usefixtures("no_leaks")
async def test_a_worker_killed_in_mid_request_is_replaced_and_the_request_runs_again(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    running = await admit(bed, steps=60)
    await bed.until_steps(3)
    first = bed.pid
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    status = bed.engine.status()
    assert (status.ready, status.waiting, status.running) == (False, 1, 0), "nothing of it is done any more"
    with pytest.raises(Rejected) as refused:
        await admit(bed)
    assert refused.value.reason is RejectReason.NOT_READY
    await assert_made(running)
    assert bed.starts == [first, bed.pid]
    assert bed.facts.exits == ["it was ended by SIGKILL (the kernel does that when memory runs out)"]
    assert len(bed.facts.waits) == 1, "it waited once"
    assert not alive(first)
    bed.assert_nothing_in_flight()
    await bed.engine.stop()


async def test_a_request_whose_worker_dies_twice_fails_with_the_reason(bed: Bed) -> None:
    poison = await admit(bed, "death at step 2")
    with pytest.raises(RequestFailed, match="the worker died twice while it made this image: it was ended by SIGKILL"):
        await poison.result()
    assert len(bed.facts.exits) == 2
    assert len(bed.facts.failures) == 1
    await bed.restarted()
    await assert_made(await admit(bed))
    bed.assert_nothing_in_flight()


async def test_what_only_waited_while_workers_died_runs_as_often_as_it_takes(make: Make) -> None:
    bed = make(batch_size=1)
    await bed.engine.start()
    prompts = ("death at encode", "death at encode", "a tree")  # the first ones leave no time to say that they began
    poison, more_poison, waiting = await bed.engine.admit([image(prompt) for prompt in prompts])
    for ticket in (poison, more_poison):
        with pytest.raises(RequestFailed, match="died twice"):
            await ticket.result()
    assert len(bed.facts.exits) == 4
    await assert_made(waiting)
    bed.assert_nothing_in_flight()


async def test_a_lost_device_is_a_death_as_any_other(bed: Bed) -> None:
    with pytest.raises(RequestFailed, match=r"died twice.*exited with code 4"):
        await (await admit(bed, "loss at step 1")).result()


async def test_requests_admitted_before_the_death_is_noticed_are_not_lost(bed: Bed) -> None:
    bed.kill()
    tickets = [await admit(bed, seed=seed) for seed in range(3)]  # the event loop has not run since
    await asyncio.gather(*(assert_made(ticket) for ticket in tickets))
    assert len(bed.facts.exits) == 1
    bed.assert_nothing_in_flight()


async def test_an_image_cancelled_while_no_worker_is_there_does_not_run_again(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    victim, kept = await admit(bed, steps=LONG), await admit(bed, steps=30)
    await bed.until_steps(1)
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    victim.cancel()
    steps = len(bed.facts.rows)
    await assert_made(kept)
    assert set(bed.facts.rows[steps:]) == {1}
    bed.assert_nothing_in_flight()


async def test_pixels_already_handed_over_survive_the_worker_and_are_not_made_again(bed: Bed) -> None:
    request = image()
    made = await bed.engine.generate(request)
    steps = len(bed.facts.rows)
    bed.kill()
    await bed.restarted()
    await assert_made(await admit(bed, seed=2))
    assert bytes(made.pixels) == picture(request)
    assert len(bed.facts.rows) == steps + 4
    made.release()
    bed.assert_nothing_in_flight()


async def test_a_drain_waits_for_the_worker_that_is_on_its_way(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    ticket = await admit(bed, steps=50)
    await bed.until_steps(2)
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    draining = asyncio.create_task(bed.engine.drain())
    await assert_made(ticket)
    await draining


async def test_a_stop_while_no_worker_is_there_fails_what_is_in_flight_and_leaves_no_process(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    ticket = await admit(bed, steps=LONG)
    bed.order("hang")
    bed.kill()
    await until(lambda: len(bed.starts) == 2)  # the second loads, and would for an hour
    await bed.engine.stop()
    with pytest.raises(RequestFailed, match="stopped"):
        await ticket.result()
    assert not any(alive(pid) for pid in bed.starts)
    assert bed.state is WorkerState.STOPPED


# ---- deaths in a row


async def test_after_several_deaths_in_a_row_no_worker_comes_and_everything_fails(make: Make) -> None:
    bed = make(**SLOW)
    await bed.engine.start()
    ticket = await admit(bed, steps=LONG)
    bed.order(*["death"] * 20)
    bed.kill()
    with pytest.raises(RequestFailed, match="no worker is left: the worker ended while it loaded the model"):
        await ticket.result()
    assert bed.state is WorkerState.STOPPED
    assert len(bed.starts) == DEATHS_IN_A_ROW
    assert not bed.engine.status().ready
    await bed.engine.drain()
    bed.assert_nothing_in_flight()


async def test_deaths_with_images_between_them_are_not_in_a_row(bed: Bed) -> None:
    for seed in range(DEATHS_IN_A_ROW + 2):
        await assert_made(await admit(bed, seed=seed, steps=1))
        bed.kill()
        await bed.restarted()
    assert bed.state is WorkerState.READY


async def test_a_worker_that_does_not_start_again_is_tried_again_until_one_does(bed: Bed) -> None:
    ticket = await admit(bed, steps=60)
    await bed.until_steps(1)
    bed.order("refused", "death", "exit", "ok")
    bed.kill()
    await assert_made(ticket)
    assert len(bed.starts) == 5
    assert len(bed.facts.exits) == 1, "one worker that served died; the others never served"


# ---- batch size and restarts


async def test_a_batch_size_set_while_no_worker_is_there_is_that_of_the_next(make: Make) -> None:
    bed = make(batch_size=1, **SLOW)
    await bed.engine.start()
    tickets = [await admit(bed, steps=LONG, seed=seed) for seed in range(3)]
    await bed.until_steps(1)
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    assert await bed.engine.set_batch_size(3) == 3
    steps = len(bed.facts.rows)
    await bed.until_steps(4)
    assert bed.facts.rows[steps:] == [3] * 4
    for ticket in tickets:
        ticket.cancel()


async def test_a_batch_size_set_while_a_worker_is_being_spawned_is_its_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make(batch_size=1, **SLOW)
    true_spawn = asyncio.create_subprocess_exec

    async def spawn(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await true_spawn(*arguments, **options)
        await bed.engine.set_batch_size(2 + len(bed.facts.exits))
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    await bed.engine.start()
    tickets = [await admit(bed, steps=LONG, seed=seed) for seed in range(4)]
    await until(lambda: 2 in bed.facts.rows)
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    steps = len(bed.facts.rows)
    await bed.until_steps(3)
    assert set(bed.facts.rows[steps:]) == {3}
    for ticket in tickets:
        ticket.cancel()


# ---- what is told meanwhile


async def test_the_time_without_a_worker_is_no_busy_time(make: Make) -> None:
    bed = make({"encode_seconds": 30.0}, **SLOW)
    await bed.engine.start()
    ticket = await admit(bed, steps=LONG)
    await until(lambda: len(bed.facts.waits) == 1)
    bed.kill()
    await bed.until_state(WorkerState.RESTARTING)
    assert bed.lane.working_since() is None
    died = time.monotonic()
    await bed.restarted()
    since = bed.lane.working_since()
    assert since is not None
    assert since > died, "it is busy since it is ready"
    ticket.cancel()


async def test_a_message_that_cannot_be_applied_ends_the_worker_and_not_the_requests(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = bed.lane.serving.progress
    true_hear, spoiled = progress.hear, 0

    def hear(message: Any, descriptor: int | None) -> None:
        nonlocal spoiled
        if isinstance(message, Started) and not spoiled:
            spoiled += 1
            raise TypeError("a message out of turn")
        true_hear(message, descriptor)

    monkeypatch.setattr(progress, "hear", hear)
    ticket = await admit(bed)
    await assert_made(ticket)
    assert len(bed.facts.exits) == 1
