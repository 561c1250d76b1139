"""Runs cells: in each round every side once, in turn, alone while all others stand still.

The order of the sides rotates from round to round, so that a drift of the machine, or whoever else is on it, meets all
of them alike. Every few rounds all are started anew, in another order: a process keeps the memory that it was given,
and of equal ones some are slower for life. All sides of a round get the same requests; no two rounds have a prompt in
common.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparison import processes, sides
from comparison.cells import CELLS, Cell
from comparison.sides import Setup, Side
from fluxpool_bench.client import Outcome, Record
from fluxpool_bench.session import Closed, Load, Open
from fluxpool_bench.summary import summarize
from fluxpool_bench.workload import Kind, Request, Workload
from fluxpool_demo.record import Pacing

SEEDS_PER_CELL, SEEDS_PER_RUN = 1_000_000, 10_000
_WARM_SEED = 10**8


@dataclass(frozen=True, slots=True)
class Sample:
    """One side in one round. Latencies are medians and quantiles of the answered requests, in seconds.

    Attributes:
        throughput: Images per second, from the first request due to the last answer.
        p50_by_kind: Median latency of each kind of request.
        detail: Of the first failure.
    """

    throughput: float
    p50: float | None
    p99: float | None
    p50_by_kind: dict[str, float | None]
    ok: int
    refused: int
    gave_up: int
    failed: int
    detail: str = ""

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Sample":
        """Count a run."""
        whole = summarize(records)
        kinds = sorted({record.kind for record in records})
        by_kind = {kind: summarize([r for r in records if r.kind == kind]).p50 for kind in kinds}
        failures = (record.detail for record in records if record.outcome is Outcome.FAILED)
        return cls(
            throughput=_rounded(whole.throughput) or 0.0,
            p50=_rounded(whole.p50),
            p99=_rounded(whole.p99),
            p50_by_kind={kind: _rounded(value) for kind, value in by_kind.items()},
            ok=whole.ok,
            refused=whole.refused,
            gave_up=whole.gave_up,
            failed=whole.failed,
            detail=next(failures, ""),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


Round = dict[str, Sample]


class Stage:
    """Sides that are ready, pinned and paused."""

    def __init__(self, members: Mapping[str, Side], rows: int) -> None:
        self._members = members
        self._rows = rows

    async def run(self, name: str, load: Load, requests: Sequence[Request]) -> list[Record]:
        """Let one side carry a load, once a full batch has warmed it after its pause."""
        with self._resumed(name) as side:
            await side.run(Closed(self._rows), _warm(requests, self._rows))
            return await side.run(load, requests)

    async def pacing(self, name: str) -> Pacing:
        """What a side counted of its paced steps since it was started."""
        with self._resumed(name) as side:
            return await side.pacing()

    def log(self, name: str) -> Path:
        """Where a side says what it says."""
        return self._members[name].log

    @contextmanager
    def _resumed(self, name: str) -> Iterator[Side]:
        side = self._members[name]
        processes.resume(side.pid)
        try:
            yield side
        finally:
            processes.pause(side.pid)


@asynccontextmanager
async def stage(names: Sequence[str], setup: Setup, logs: Path) -> AsyncIterator[Stage]:
    """Start sides side by side on all CPUs, and end them all at the end."""
    everywhere = os.sched_getaffinity(0)
    members: dict[str, Side] = {}
    with ExitStack() as stack:
        for name in names:
            members[name] = sides.start(name, setup, logs)
            stack.callback(processes.end, members[name].pid)
            await members[name].ready()
            sides.pin(name, members[name].pid, setup)
            processes.pause(members[name].pid)
        stack.callback(os.sched_setaffinity, 0, everywhere)
        os.sched_setaffinity(0, setup.host_cpus)
        yield Stage(members, setup.rows)


async def rounds(on: Stage, cell: Cell, first: int, count: int) -> AsyncIterator[Round]:
    """Rounds `first` and following of a cell."""
    for number in range(first, first + count):
        requests = draw(cell, number)
        yield {name: Sample.of(await on.run(name, cell.load, requests)) for name in turns(cell.sides, number)}


def turns(names: Sequence[str], number: int) -> Iterator[str]:
    """Who comes after whom in a round: each begins in its turn, and every other time the order is reversed."""
    shift = number // 2 % len(names)
    order = [*names[shift:], *names[:shift]]
    yield from order if number % 2 == 0 else reversed(order)


def draw(cell: Cell, number: int) -> list[Request]:
    """The requests of a round."""
    count = len(cell.load.arrivals) if isinstance(cell.load, Open) else cell.requests
    return Workload(cell.kinds, first_seed(cell, number)).draw(count)


def first_seed(cell: Cell, number: int) -> int:
    """Of a round: seeds are in the prompts, and what carried one cell may remember them in the next."""
    place = [one.name for one in CELLS].index(cell.name)
    return place * SEEDS_PER_CELL + number * SEEDS_PER_RUN


def _warm(requests: Sequence[Request], rows: int) -> list[Request]:
    """A full batch like the shortest of what follows, by clients that stay."""
    like = min((request.kind for request in requests), key=lambda kind: kind.steps or 0)
    warm = Kind(like.size, like.steps, prompts=("{seed} warm",))
    return Workload([warm], seed=_WARM_SEED + requests[0].seed).draw(rows)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
