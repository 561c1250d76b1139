"""Engines over worker processes with a fake model: real sockets, real shared memory, real deaths, in half a second."""

import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from facts import Facts
from waiting import until

from fluxpool_inference.engine import Engine, EngineConfig, WorkerState, process
from fluxpool_inference.engine import supervisor as supervision

TESTS = Path(__file__).parents[1]


@dataclass
class Bed:
    """One engine, its facts, and the folder that tells its workers what to do."""

    engine: Engine
    facts: Facts
    home: Path

    @property
    def state(self) -> WorkerState:
        return self.engine.status().workers[0].state

    @property
    def pid(self) -> int:
        pid = self.engine.status().workers[0].pid
        assert pid is not None
        return pid

    @property
    def starts(self) -> list[int]:
        """The process ids of all workers so far."""
        file = self.home / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def order(self, *starts: str) -> None:
        """What becomes of the next starts."""
        (self.home / "start").write_text("\n".join(starts))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    async def until_state(self, state: WorkerState) -> None:
        await until(lambda: self.state is state)

    async def until_steps(self, steps: int) -> None:
        """Until so many more steps have run."""
        wanted = len(self.facts.rows) + steps
        await until(lambda: len(self.facts.rows) >= wanted)

    async def restarted(self) -> None:
        """Until a worker serves that was not there when this was called first."""
        before = len(self.facts.stages)
        await until(lambda: len(self.facts.stages) > before)

    def assert_nothing_in_flight(self) -> None:
        status = self.engine.status()
        assert (status.waiting, status.running) == (0, 0)
        assert (status.queued_work_seconds, status.running_work_seconds) == (0, 0)
        assert self.facts.in_flight == 0


Make = Callable[..., Bed]


@pytest.fixture
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_BACKOFF_SECONDS", 0.01)


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_restarts: None) -> AsyncIterator[Make]:
    """Makes engines that are not started yet; those with options of the fake model as `model`."""
    monkeypatch.setattr(process, "MODULE", "fake_worker")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS / "engine")]))
    made: list[Bed] = []

    def new(model: dict[str, Any] | None = None, **options: Any) -> Bed:
        home = tmp_path / f"model-{len(made)}"
        home.mkdir()
        speed = {"encode_seconds": 0.002, "fixed_seconds": 0.01, "per_row_seconds": 0.001, "decode_seconds": 0.002}
        (home / "model.json").write_text(json.dumps(speed | (model or {})))
        usual: dict[str, Any] = {"default_width": 64, "default_height": 64, "max_pixels": 64 * 64, "batch_size": 4}
        facts = Facts()
        bed = Bed(Engine(EngineConfig(str(home), **(usual | options)), facts), facts, home)
        made.append(bed)
        return bed

    yield new
    for bed in made:
        await bed.engine.stop()
        for pid in bed.starts:
            assert not alive(pid), "no worker outlives its engine"


@pytest.fixture
async def bed(make: Make) -> Bed:
    """An engine that serves."""
    bed = make()
    await bed.engine.start()
    return bed


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """No descriptor, no pixels and no file in shared memory are left that were not there before."""

    def files() -> set[str]:
        gc.collect()
        return {entry.name for entry in Path("/proc/self/fd").iterdir()}

    before, shared = files(), set(Path("/dev/shm").iterdir())
    yield
    assert files() == before
    assert set(Path("/dev/shm").iterdir()) <= shared
    assert "memfd:fluxpool" not in Path("/proc/self/maps").read_text()
