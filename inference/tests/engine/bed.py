"""An engine to try things on, and what its worker processes are told to do."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facts import Facts
from waiting import until

from fluxpool_inference.engine import Engine, WorkerState
from fluxpool_inference.engine.lane import Lane

_HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(_HERE.parent), str(_HERE)])
"""By which a child finds the modules of these tests."""


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
        return self.pid_of(0)

    def pid_of(self, worker: int) -> int:
        pid = self.engine.status().workers[worker].pid
        assert pid is not None
        return pid

    @property
    def lane(self) -> Lane:
        """The first worker's."""
        return self.engine._crew.lanes[0]

    @property
    def starts(self) -> list[int]:
        """The process ids of all workers so far."""
        file = self.home / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def order(self, *starts: str, worker: int | None = None) -> None:
        """What becomes of the next starts, of one of several workers."""
        (self.home / ("start" if worker is None else f"start.{worker}")).write_text("\n".join(starts))

    def kill(self, worker: int = 0) -> None:
        os.kill(self.pid_of(worker), signal.SIGKILL)

    async def until_state(self, state: WorkerState, worker: int = 0) -> None:
        await until(lambda: self.engine.status().workers[worker].state is state)

    async def until_all_serve(self) -> None:
        await until(lambda: all(worker.state is WorkerState.READY for worker in self.engine.status().workers))

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


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
