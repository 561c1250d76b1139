"""How far apart the scrapes of each pool are, learned from the scrape times that polls see."""

from collections import deque
from collections.abc import Mapping
from statistics import median_low

from fluxpool_operator.scaling.queries import PodReading, PoolId

_GAPS_KEPT = 21


class ScrapeIntervals:
    """The observed scrape interval of every pool.

    The median of the last gaps between scrapes of one pod: a scrape that failed, or an outage, is one long gap among
    many. A pool polled more rarely than it is scraped shows the interval between polls, which is the freshness it has.
    """

    def __init__(self) -> None:
        self._last: dict[PoolId, dict[str, float]] = {}
        self._gaps: dict[PoolId, deque[float]] = {}

    def learn(self, pods: Mapping[PoolId, Mapping[str, PodReading]]) -> None:
        """Take in what a poll has read; pods and pools that it has nothing of are forgotten, but not their interval."""
        for pool, readings in pods.items():
            last = self._last.get(pool, {})
            gaps = self._gaps.setdefault(pool, deque(maxlen=_GAPS_KEPT))
            gaps.extend(
                reading.scraped_at - last[uid]
                for uid, reading in readings.items()
                if uid in last and reading.scraped_at > last[uid]
            )
        self._last = {
            pool: {uid: reading.scraped_at for uid, reading in readings.items()} for pool, readings in pods.items()
        }

    def seconds(self, pool: PoolId) -> float | None:
        """The interval of a pool, None until one of its pods was seen at two scrapes."""
        gaps = self._gaps.get(pool)
        return median_low(gaps) if gaps else None

    def forget(self, pool: PoolId) -> None:
        """The pool is gone."""
        self._gaps.pop(pool, None)
        self._last.pop(pool, None)
