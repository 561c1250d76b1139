"""Ten times more than can be done: what a server that refuses still gets done, and whether its promises hold.

Each round measures the peak, in a closed loop that never lets the batches run empty, and then an open loop of ten
times that rate. What is refused is refused at once; what is admitted should be answered within the longest wait that
is admitted plus its own time: that of the last image of a full batch.
"""

import json
import statistics
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from comparison.cells import MAX_QUEUE_SECONDS, OURS, OVERLOAD, Cell
from comparison.measure import Sample, Stage, first_seed
from fluxpool_bench import arrivals
from fluxpool_bench.client import Outcome
from fluxpool_bench.session import Closed, Open
from fluxpool_bench.workload import Workload

SECONDS = 12.0
FULL_BATCHES = 3


@dataclass(frozen=True, slots=True)
class OverloadRound:
    """One round.

    Attributes:
        peak: In the cell's closed loop.
        own_seconds: Latency of the last image of a full batch without a queue: the median of a few batches.
        own_median_seconds: Of its median image, likewise.
        load: What the open loop made of it.
        waits: Of each admitted request, in seconds: as estimated at admission, and as it was.
        paced_steps: Of the whole round; 0 without a pace.
        pace_overruns: Those of them that took longer than their pace.
    """

    peak: Sample
    own_seconds: float
    own_median_seconds: float
    load: Sample
    waits: tuple[tuple[float, float], ...]
    paced_steps: int
    pace_overruns: int

    @property
    def goodput(self) -> float:
        """Images per second under overload, over those at the peak."""
        return self.load.throughput / self.peak.throughput

    @property
    def p99_over_bound(self) -> float:
        """99th percentile of the latency of what was admitted, over the longest that was promised."""
        return (self.load.p99 or 0.0) / (MAX_QUEUE_SECONDS + self.own_seconds)

    @property
    def p99_over_median_bound(self) -> float:
        """The same, were each image to take no longer than the median one of a full batch."""
        return (self.load.p99 or 0.0) / (MAX_QUEUE_SECONDS + self.own_median_seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with what follows from it; of each wait a line that `kept_waits` reads."""
        return asdict(self) | {
            "waits": [f"{estimate:.4f} {wait:.4f}" for estimate, wait in self.waits],
            "goodput": self.goodput,
            "p99_over_bound": self.p99_over_bound,
            "p99_over_median_bound": self.p99_over_median_bound,
        }


async def rounds(on: Stage, cell: Cell, first: int, count: int, seconds: float) -> AsyncIterator[OverloadRound]:
    """Rounds `first` and following, each with an overload of so many seconds."""
    for number in range(first, first + count):
        seed = first_seed(cell, number)
        before = await on.pacing(OURS)
        own = await _own_seconds(on, cell, seed)
        peak = Sample.of(await on.run(OURS, cell.load, Workload(cell.kinds, seed + 1000).draw(cell.requests)))
        rate = OVERLOAD * peak.throughput
        times = tuple(arrivals.poisson(rate, round(rate * seconds), seed=number))
        said = len(_log(on))
        flood = Workload(cell.kinds, seed + 2000).draw(len(times))
        load = Sample.of(await on.run(OURS, Open(times, f"{OVERLOAD} x the peak"), flood))
        answered = waits(_log(on)[said:], {request.seed for request in flood})
        after = await on.pacing(OURS)
        paced = after.steps - before.steps, after.overruns - before.overruns
        yield OverloadRound(peak, *own, load, tuple(answered), *paced)


async def _own_seconds(on: Stage, cell: Cell, seed: int) -> tuple[float, float]:
    last, median = [], []
    for batch in range(FULL_BATCHES):
        requests = Workload(cell.kinds, seed + batch * cell.rows).draw(cell.rows)
        records = await on.run(OURS, Closed(cell.rows), requests)
        if failed := [record.detail for record in records if record.outcome is not Outcome.OK]:
            raise RuntimeError(f"a full batch without a queue was not answered: {failed[0]}")
        last.append(max(record.latency for record in records))
        median.append(statistics.median(record.latency for record in records))
    return statistics.median(last), statistics.median(median)


def waits(lines: Sequence[str], seeds: Collection[int]) -> Iterator[tuple[float, float]]:
    """Estimated and true wait of what was admitted of requests with these seeds, from the access log.

    Others are in it too: the batch that warms a side up, and an answer of the last run that was logged after its pause.
    """
    for line in lines:
        facts = json.loads(line)
        if "wait_estimate_seconds" in facts and facts["seed"] in seeds:
            yield facts["wait_estimate_seconds"], facts["wait_seconds"]


def kept_waits(lines: Sequence[str]) -> list[tuple[float, float]]:
    """Estimated and true wait, as `OverloadRound.as_dict` keeps them."""
    pairs = (line.split() for line in lines)
    return [(float(estimate), float(wait)) for estimate, wait in pairs]


def relative_errors(found: Sequence[tuple[float, float]]) -> list[float]:
    """|estimate - wait| / wait of each; a wait under 10 ms counts as 10 ms, for nobody feels less."""
    return [abs(estimate - wait) / max(wait, 0.01) for estimate, wait in found]


def _log(on: Stage) -> list[str]:
    return Path(on.log(OURS)).read_text().splitlines()
