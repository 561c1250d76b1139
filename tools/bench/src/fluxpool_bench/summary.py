"""Counts: a run's records to the figures of one row of a table. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from fluxpool_bench.client import Outcome, Record

LEAST_PAIRS = 6
"""Fewer say nothing with 95 % confidence: of two equal sides, one is ahead in all of n pairs with probability
2 * (1/2)^n (the two-sided sign test: Conover, Practical Nonparametric Statistics, 3.4). That is 6.3 % for five pairs
and 3.1 % for six."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One run. Latencies are seconds over the answered requests, from due to done; None where nothing was answered.

    Attributes:
        seconds: From the first due time to the last answer.
        throughput: Images per second over `seconds`.
        p95_of_all: As `p95`, over all requests that their clients did not give up, where those that were refused or
            failed count as longer than any; None if it is one of those.
        send_delay_p99: How late the generator itself sent (open loop): if large, it was the limit, not the server.
        send_delay_max: The latest of all.
    """

    ok: int
    refused: int
    gave_up: int
    failed: int
    images: int
    seconds: float
    throughput: float
    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None
    p95_of_all: float | None
    send_delay_p99: float
    send_delay_max: float

    @property
    def unanswered(self) -> int:
        """Requests whose clients waited in vain."""
        return self.refused + self.failed

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return asdict(self)


def summarize(records: Sequence[Record]) -> Summary:
    """The figures of one run. Raises ValueError for a run without a request."""
    if not records:
        raise ValueError("no request was made")
    count = {outcome: sum(record.outcome is outcome for record in records) for outcome in Outcome}
    images = sum(record.images for record in records)
    seconds = max(record.done for record in records) - min(record.due for record in records)
    latencies = [record.latency for record in records if record.outcome is Outcome.OK]
    delays = [record.sent - record.due for record in records]
    return Summary(
        ok=count[Outcome.OK],
        refused=count[Outcome.REFUSED],
        gave_up=count[Outcome.GAVE_UP],
        failed=count[Outcome.FAILED],
        images=images,
        seconds=seconds,
        throughput=images / seconds,
        mean=float(np.mean(latencies)) if latencies else None,
        p50=quantile(latencies, 0.50),
        p90=quantile(latencies, 0.90),
        p95=quantile(latencies, 0.95),
        p99=quantile(latencies, 0.99),
        max=max(latencies, default=None),
        p95_of_all=_of_all(latencies, count[Outcome.REFUSED] + count[Outcome.FAILED], 0.95),
        send_delay_p99=quantile(delays, 0.99) or 0.0,
        send_delay_max=max(delays),
    )


def quantile(values: Iterable[float], q: float) -> float | None:
    """The smallest value that at least the share `q` of all values does not exceed; None of nothing."""
    ordered = sorted(values)
    return float(np.quantile(ordered, q, method="inverted_cdf")) if ordered else None


def _of_all(latencies: Sequence[float], unanswered: int, q: float) -> float | None:
    """The quantile of all, as `quantile`; None if it is of one that was not answered."""
    place = math.ceil(q * (len(latencies) + unanswered)) - 1
    return sorted(latencies)[place] if 0 <= place < len(latencies) else None


def median_ratio(
    pairs: Sequence[tuple[float, float]], lives: Sequence[int] | None = None, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Median of a/b over paired rounds, then its bootstrap 95 % interval (Efron's percentile method), low and high.

    Args:
        pairs: One of each round.
        lives: In which life of the servers each round was. Rounds of one life are not independent of each other, so
            whole lives are drawn (the cluster bootstrap of Davison and Hinkley, 1997, section 3.8).
        resamples: How many are drawn.
        seed: Of the draw.
    """
    ratios = np.array([a / b for a, b in pairs])
    groups = np.arange(len(ratios)) if lives is None else np.array(lives)
    clusters = [ratios[groups == life] for life in np.unique(groups)]
    draws = np.random.default_rng(seed).integers(len(clusters), size=(resamples, len(clusters)))
    medians = [np.median(np.concatenate([clusters[place] for place in draw])) for draw in draws]
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One side against another over paired rounds.

    Attributes:
        ratio: Median of first/second.
        low: The 2.5 % quantile of the bootstrap, which of fewer than `LEAST_PAIRS` is no bound of anything.
        high: The 97.5 % quantile, likewise.
        verdict: Of the first side; an interval that holds 1 is a tie.
    """

    pairs: int
    ratio: float
    low: float
    high: float
    verdict: Literal["ahead", "behind", "tie", "too few rounds"]

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio; None where there are too few rounds for one."""
        return None if self.verdict == "too few rounds" else (self.low, self.high)


def compare(
    pairs: Sequence[tuple[float, float]], *, higher_is_better: bool, lives: Sequence[int] | None = None
) -> Comparison:
    """First against second; for `lives` see `median_ratio`. Raises ValueError without a pair.

    `LEAST_PAIRS` is asked of the pairs: where several are of one life, the caller asks the same of the lives.
    """
    if not pairs:
        raise ValueError("no pair to compare")
    ratio, low, high = median_ratio(pairs, lives)
    if len(pairs) < LEAST_PAIRS:
        return Comparison(len(pairs), ratio, low, high, "too few rounds")
    above, below = low > 1, high < 1
    ahead, behind = (above, below) if higher_is_better else (below, above)
    return Comparison(len(pairs), ratio, low, high, "ahead" if ahead else "behind" if behind else "tie")
