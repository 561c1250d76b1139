"""A supervisor whose process is played by the test: words and ends at moments that a real one seldom hits."""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from bench import NO_KNEE
from fake_model import INFO
from waiting import until

from fluxpool_inference.engine import EngineConfig, StartError, StartFailure, WorkerState
from fluxpool_inference.engine import supervisor as supervision
from fluxpool_inference.engine.supervisor import DEATHS_IN_A_ROW, Events, Supervisor
from fluxpool_inference.ipc.messages import FromWorker, NotStarted, Ready

READY = Ready(INFO, NO_KNEE, None, None, "fake", None, {})
REFUSAL = NotStarted(StartFailure.DEVICE_UNAVAILABLE, "the device is on holiday")


class Played:
    """In place of a `WorkerProcess`."""

    pid = 1

    def __init__(self, say: Callable[[FromWorker, int | None], None], exit_: Callable[[str], None]) -> None:
        self._say = say
        self.exits = exit_
        self.kills = 0
        self.hung_up = False
        self.ends = asyncio.Event()
        self.ends.set()
        self.can_end = True

    def says(self, message: FromWorker) -> None:
        self._say(message, None)

    def kill(self) -> None:
        self.kills += 1

    async def stop(self) -> bool:
        self.hung_up = True
        await self.ends.wait()
        return self.can_end


class Stage:
    """A supervisor, its processes so far, and what it told."""

    def __init__(self) -> None:
        self.processes: list[Played] = []
        self.told: list[str] = []
        self.events = Events(
            on_message=lambda message, descriptor: self.told.append("message"),
            on_ready=lambda ready: self.told.append("ready"),
            on_lost=lambda why: self.told.append(f"lost: {why}"),
            on_given_up=lambda why: self.told.append("given up"),
        )
        self.supervisor = Supervisor(0, lambda: EngineConfig("m"), self.events, {})

    async def spawn(self, config: Any, since: float, on_message: Any, on_exit: Any, environment: Any) -> Played:
        self.processes.append(Played(on_message, on_exit))
        return self.processes[-1]

    async def starting(self) -> "tuple[asyncio.Task[None], Played]":
        """A start under way, and its process, of which nothing was heard yet."""
        start = asyncio.create_task(self.supervisor.start())
        await asyncio.sleep(0)
        return start, self.processes[-1]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(supervision.WorkerProcess, "spawn", stage.spawn)
    return stage


@pytest.mark.parametrize("word", [READY, REFUSAL], ids=["ready", "not started"])
async def test_a_word_about_a_start_that_was_given_up_in_this_moment_comes_too_late(stage: Stage, word: Any) -> None:
    start, process = await stage.starting()
    start.cancel()
    process.says(word)
    with pytest.raises(asyncio.CancelledError):
        await start
    assert process.hung_up
    assert stage.told == []
    assert stage.supervisor.state is not WorkerState.READY


async def test_a_process_that_said_why_it_cannot_serve_and_ended_did_not_start_and_is_no_loss(stage: Stage) -> None:
    start, process = await stage.starting()
    process.says(REFUSAL)
    process.exits("it exited with code 3")
    with pytest.raises(StartError, match="the device is on holiday"):
        await start
    assert stage.told == []
    assert (stage.supervisor.deaths, stage.supervisor.problem) == (1, "the device is on holiday")


async def test_only_who_serves_is_killed(stage: Stage) -> None:
    stage.supervisor.kill("too early")
    start, process = await stage.starting()
    stage.supervisor.kill("it still loads")
    process.says(READY)
    await start
    await stage.supervisor.stop()
    stage.supervisor.kill("too late")
    assert process.kills == 0
    assert stage.told == ["ready"]


async def hanging(stage: Stage) -> Played:
    """A process that was killed since it hangs, and stays."""
    start, process = await stage.starting()
    process.says(READY)
    await start
    process.ends.clear()
    stage.supervisor.kill("it hangs")
    return process


async def test_who_is_killed_is_lost_at_once_and_replaced_when_it_is_gone(stage: Stage) -> None:
    process = await hanging(stage)
    assert stage.told == ["ready", "lost: it hangs"]
    for _ in range(10):
        stage.supervisor.kill("it hangs still")
        await asyncio.sleep(0)
    assert (stage.supervisor.state, stage.supervisor.deaths) == (WorkerState.ENDING, 1)
    assert stage.supervisor.problem == "it hangs"
    assert (stage.told[2:], process.kills, stage.processes) == ([], 1, [process]), "once, and nobody is beside it"
    process.ends.set()
    await until(lambda: len(stage.processes) == 2)
    assert stage.supervisor.state is WorkerState.RESTARTING
    stage.processes[1].says(READY)
    await until(lambda: stage.supervisor.state is WorkerState.READY)
    assert stage.told == ["ready", "lost: it hangs", "ready"]


async def test_who_cannot_be_ended_is_given_up_and_nobody_takes_its_device(stage: Stage) -> None:
    process = await hanging(stage)
    process.can_end = False
    process.ends.set()
    await until(lambda: stage.supervisor.state is WorkerState.STOPPED)
    assert stage.told == ["ready", "lost: it hangs", "given up"]
    assert (stage.supervisor.problem, stage.supervisor.pid) == ("it hangs; its process cannot be ended", process.pid)
    await stage.supervisor.stop()
    assert stage.processes == [process]


@pytest.mark.parametrize(("device", "told"), [("cuda:0", "cuda:2"), ("cpu", "cpu")])
async def test_a_gpu_is_told_by_the_number_of_its_worker_which_sees_no_other(
    stage: Stage, device: str, told: str
) -> None:
    stage.supervisor = Supervisor(2, lambda: EngineConfig("m"), stage.events, {})
    start, process = await stage.starting()
    process.says(dataclasses.replace(READY, model=dataclasses.replace(INFO, device=device)))
    await start
    assert stage.supervisor.device == told


async def test_each_death_in_a_row_is_waited_twice_as_long_as_the_one_before_and_the_first_not_at_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    pass_on = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await pass_on(0)

    async def dies_and_is_replaced() -> None:
        before = len(stage.processes)
        stage.processes[-1].exits("it was ended by SIGKILL")
        while len(stage.processes) == before:
            await pass_on(0)
        stage.processes[-1].says(READY)
        while stage.supervisor.state is not WorkerState.READY:
            await pass_on(0)

    start, process = await stage.starting()
    process.says(READY)
    await start
    monkeypatch.setattr(asyncio, "sleep", sleep)
    for _ in range(DEATHS_IN_A_ROW - 1):
        await dies_and_is_replaced()
    assert waits == [0.0, 1.0, 2.0, 4.0]
    stage.supervisor.finished_an_image()
    await dies_and_is_replaced()
    assert waits[4:] == [0.0]
