"""When to ask, in an open loop: arrival times in seconds from the start, fixed before the first request is sent.

A closed loop (a client asks again when it has its answer) slows down with the server and so hides its queue
("coordinated omission", Gil Tene). An open loop does not: a request is timed from the moment it was due, whether
or not it could be sent then.
"""

import csv
import math
import random
from collections.abc import Sequence
from pathlib import Path

from fluxpool_bench.errors import UsageError, reason


def poisson(rate: float, count: int, seed: int = 0) -> list[float]:
    """`count` arrivals of a Poisson process with `rate` requests per second."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    times, now = [], 0.0
    for _ in range(count):
        now += chance.expovariate(rate)
        times.append(now)
    return times


def constant(rate: float, count: int) -> list[float]:
    """`count` arrivals, evenly spaced at `rate` requests per second."""
    return [i / rate for i in range(count)]


def from_csv(path: Path) -> list[float]:
    """Arrival times of a CSV file: its column `t_s`, or its first column. Raises UsageError with the line number."""
    try:
        with path.open(newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"arrivals {path}: {reason(error)}") from error
    column, first = _header([row for _, row in rows])
    times = [_seconds(path, line, row, column) for line, row in rows[first:]]
    if not times:
        raise UsageError(f"arrivals {path}: holds no arrival time")
    if times != sorted(times) or times[0] < 0:
        raise UsageError(f"arrivals {path}: times must start at 0 or later and never go back")
    return times


def _header(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    if rows and "t_s" in rows[0]:
        return rows[0].index("t_s"), 1
    return 0, 0


def _seconds(path: Path, line: int, row: Sequence[str], column: int) -> float:
    try:
        seconds = float(row[column])
    except (IndexError, ValueError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UsageError(f"arrivals {path}: line {line} has no number in column {column + 1}")
    return seconds
