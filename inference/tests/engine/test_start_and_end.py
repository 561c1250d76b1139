"""Engines that do not start, and processes that outlive nothing."""

import asyncio
import os
import signal
import sys

import pytest
from bed import PYTHONPATH, Make, alive
from waiting import until

from fluxpool_inference.engine import StartError, StartFailure, WorkerState, lane
from fluxpool_inference.engine import process as worker_process


@pytest.mark.parametrize(
    ("order", "reason", "message"),
    [
        ("refused", StartFailure.DEVICE_UNAVAILABLE, "the device is on holiday"),
        ("death", StartFailure.MODEL_LOAD_FAILED, r"ended while it loaded the model: it was ended by SIGKILL \(the k"),
        ("exit", StartFailure.MODEL_LOAD_FAILED, "ended while it loaded the model: it exited with code 1"),
    ],
)
@pytest.mark.usefixtures("no_leaks")
async def test_a_worker_that_cannot_start_is_a_start_error_with_its_reason(
    make: Make, order: str, reason: StartFailure, message: str
) -> None:
    bed = make()
    bed.order(order)
    with pytest.raises(StartError, match=message) as raised:
        await bed.engine.start()
    assert raised.value.reason is reason
    assert not bed.engine.status().ready
    assert not any(alive(pid) for pid in bed.starts)
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
async def test_limits_that_no_drain_could_keep_are_a_start_error_that_says_what_to_change(make: Make) -> None:
    bed = make(drain_seconds=31, max_queue_seconds=30, max_steps=50, max_images=4)
    with pytest.raises(StartError, match="raise drain_seconds") as raised:
        await bed.engine.start()
    assert raised.value.reason is StartFailure.INVALID_CONFIGURATION
    assert bed.state is WorkerState.STOPPED
    assert not any(alive(pid) for pid in bed.starts)
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
async def test_a_process_that_cannot_be_made_is_a_start_error_and_leaves_nothing_open(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make()
    monkeypatch.setattr(worker_process.sys, "executable", "/nowhere/python")
    with pytest.raises(StartError, match="no worker process can be made") as raised:
        await bed.engine.start()
    assert raised.value.reason is StartFailure.DEVICE_UNAVAILABLE
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
async def test_a_cancelled_start_leaves_no_process(make: Make) -> None:
    bed = make()
    bed.order("hang")
    starting = asyncio.create_task(bed.engine.start())
    await until(lambda: bool(bed.starts))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(alive(pid) for pid in bed.starts)
    await bed.engine.stop()


@pytest.mark.usefixtures("no_leaks")
async def test_a_start_cancelled_while_the_process_is_being_made_leaves_no_process(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed = make()
    made: list[int] = []
    true_spawn = asyncio.create_subprocess_exec

    async def spawn(*arguments: object, **options: object) -> asyncio.subprocess.Process:
        process = await true_spawn(*arguments, **options)  # type: ignore[arg-type]
        made.append(process.pid)
        starting.cancel()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    starting = asyncio.create_task(bed.engine.start())
    await asyncio.gather(starting, return_exceptions=True)
    await bed.engine.stop()
    await until(lambda: not alive(made[0]))


async def test_a_worker_that_does_not_go_when_hung_up_on_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_HANG_UP_SECONDS", 0.2)
    bed = make()
    await bed.engine.start()
    pid = bed.pid
    os.kill(pid, signal.SIGSTOP)
    await bed.engine.stop()
    assert not alive(pid)


async def test_the_terminal_s_interrupt_does_not_reach_a_worker(make: Make) -> None:
    bed = make()
    await bed.engine.start()
    assert os.getsid(bed.pid) == bed.pid != os.getsid(0)


async def test_a_worker_that_nobody_can_work_with_is_ended_and_the_engine_does_not_start(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(lane.Lane, "takes_over", fails)
    bed = make()
    with pytest.raises(TypeError, match="a bug"):
        await bed.engine.start()
    assert bed.engine.status().workers[0].state is WorkerState.STOPPED
    assert not any(alive(pid) for pid in bed.starts)
    await bed.engine.stop()


PARENT = """
import asyncio, sys
from facts import Facts
from bench import image
from fluxpool_inference.engine import Engine, EngineConfig, process
process.MODULE = "fake_worker"

async def main():
    facts = Facts()
    limits = {"max_pixels": 4096, "max_queue_seconds": 1e6, "drain_seconds": 1e9}
    engine = Engine(EngineConfig(sys.argv[1], default_width=64, default_height=64, **limits), facts)
    await engine.start()
    ticket, = await engine.admit([image(sys.argv[2], steps=10_000)])
    while not facts.rows and not (sys.argv[2] != "a tree" and facts.waits):
        await asyncio.sleep(0.01)
    print("working", flush=True)
    await ticket.result()

asyncio.run(main())
"""


@pytest.mark.parametrize("prompt", ["a tree", "hang at encode"], ids=["between steps", "in the middle of something"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_exits_when_its_parent_dies_whatever_it_is_doing(
    make: Make, prompt: str, number: signal.Signals
) -> None:
    home = make().home
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(home), prompt, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        assert await parent.stdout.readline() == b"working\n"
        (worker,) = (int(line) for line in (home / "starts").read_text().split())
        assert alive(worker)
        parent.send_signal(number)
        await asyncio.wait_for(until(lambda: not alive(worker)), 30)
    finally:
        for pid in (parent.pid, *(int(line) for line in (home / "starts").read_text().split())):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        await parent.communicate()  # to the end of what it says, so that no transport outlives the loop
