"""Cold start: how long a pod takes from being scheduled to being ready.

Waiting for a node is another matter and not part of it. The last 20 starts of the present template count; before the
first one, 120 s is assumed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STARTS_KEPT = 20
ASSUMED_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Percentiles of cold start in seconds, and how many starts they rest on (0: assumed)."""

    p50_seconds: float
    p90_seconds: float
    p99_seconds: float
    starts: int


def summarize(durations_seconds: Sequence[float]) -> ColdStart:
    """Percentiles by the nearest-rank method over the last `STARTS_KEPT` durations, oldest first.

    With 20 values the 99th percentile is the largest: the start that a capacity plan has to reckon with.
    """
    kept = sorted(durations_seconds[-STARTS_KEPT:])
    if not kept:
        return ColdStart(ASSUMED_SECONDS, ASSUMED_SECONDS, ASSUMED_SECONDS, starts=0)

    def percentile(percent: int) -> float:
        return kept[math.ceil(percent * len(kept) / 100) - 1]

    return ColdStart(percentile(50), percentile(90), percentile(99), starts=len(kept))
