"""A session: every load, on every target, in every round, interleaved so that a drift of the machine hits all alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fluxpool_bench import rows
from fluxpool_bench.client import Outcome, Record, Target
from fluxpool_bench.errors import NoAnswerError
from fluxpool_bench.runner import closed_loop, open_loop
from fluxpool_bench.summary import Summary, summarize
from fluxpool_bench.workload import Request, Workload


@dataclass(frozen=True, slots=True)
class Closed:
    """So many clients, each with one request at a time."""

    since: ClassVar[str] = "sent"
    """From when on a latency counts."""
    concurrency: int

    def __str__(self) -> str:
        return f"closed, {self.concurrency} at once"


@dataclass(frozen=True, slots=True)
class Open:
    """Requests at given times, in seconds from the start."""

    since: ClassVar[str] = "due"
    arrivals: tuple[float, ...]
    name: str

    def __str__(self) -> str:
        return f"open, {self.name}"


Load = Closed | Open


@dataclass(frozen=True, slots=True)
class Run:
    """One load on one target in one round."""

    target: str
    load: Load
    round: int
    records: tuple[Record, ...]
    steps_by_rows: dict[str, float]

    @property
    def summary(self) -> Summary:
        """The figures of this run."""
        return summarize(self.records)


class Progress:
    """Is told what happens; the table prints it. All methods return at once."""

    def begin(self, target: str, load: Load, round_number: int, requests: int) -> None:
        """A run begins."""

    def record(self, record: Record) -> None:
        """One request ended."""

    def end(self, run: Run) -> None:
        """A run ended."""


@dataclass(frozen=True, slots=True)
class Session:
    """What to run. `requests` counts per run; an open load has its own number."""

    targets: Sequence[Target]
    loads: Sequence[Load]
    workload: Workload
    requests: int
    rounds: int
    warm_up: int

    def order(self) -> Iterator[tuple[int, Load, Target]]:
        """Round by round, load by load, the targets in turn; every other round backwards, so none is always second."""
        for number in range(1, self.rounds + 1):
            targets = list(self.targets) if number % 2 else list(reversed(self.targets))
            for load in self.loads:
                for target in targets:
                    yield number, load, target

    async def run(self, progress: Progress) -> list[Run]:
        """Warm every target up, then run everything. Raises NoAnswerError if one answers nothing while it is warmed."""
        for target in self.targets:
            await self._warm(target)
        return [await self._one(number, load, target, progress) for number, load, target in self.order()]

    async def _warm(self, target: Target) -> None:
        requests = self.workload.draw(self.warm_up)
        records = await closed_loop(target, requests, min(self.warm_up, 4), lambda _: None)
        if records and all(record.outcome is Outcome.FAILED for record in records):
            raise NoAnswerError(f"{target.base_url} answers no request of the warm-up: {records[0].detail}")

    def _requests(self, number: int, load: Load) -> list[Request]:
        """Those of a run: the same for every target, and no others' before."""
        counts = [self.requests if isinstance(each, Closed) else len(each.arrivals) for each in self.loads]
        place = self.loads.index(load)
        return self.workload.draw(counts[place], self.warm_up + (number - 1) * sum(counts) + sum(counts[:place]))

    async def _one(self, number: int, load: Load, target: Target, progress: Progress) -> Run:
        requests = self._requests(number, load)
        count = len(requests)
        progress.begin(target.base_url, load, number, count)
        before = rows.histogram(await target.metrics())
        on_record: Callable[[Record], None] = progress.record
        if isinstance(load, Closed):
            records = await closed_loop(target, requests, load.concurrency, on_record)
        else:
            records = await open_loop(target, requests, load.arrivals, on_record)
        steps = rows.steps_by_rows(before, rows.histogram(await target.metrics()))
        run = Run(target.base_url, load, number, tuple(sorted(records, key=lambda r: r.index)), steps)
        progress.end(run)
        return run
