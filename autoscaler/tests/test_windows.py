"""Windows against Kubernetes' own table (1.37, horizontal_test.go, TestNormalizeDesiredReplicasWithBehavior)."""

import pytest

from fluxpool_autoscaler import Bounds
from fluxpool_autoscaler.memory import KEPT_SECONDS, KnobMemory, Needs
from fluxpool_autoscaler.rails import Draft, hold_by_window

NOW = 100_000.0
MINUTE = 60
# name; earlier needs as (minutes ago, need); current; need of now; up window; down window; expected
TABLE = [
    ("empty recommendations for scaling down", [], 100, 5, 0, 0, 5),
    ("simple scale down stabilization", [(2, 4), (1, 5)], 100, 3, 0, 180, 5),
    ("simple scale up stabilization", [(2, 4), (1, 5)], 1, 7, 300, 0, 4),
    ("no scale down stabilization", [(2, 1), (1, 2)], 100, 3, 300, 0, 3),
    ("no scale up stabilization", [(2, 4), (1, 5)], 1, 3, 0, 300, 3),
    ("old recommendations, down", [(10, 10), (9, 9)], 100, 3, 0, 0, 3),
    ("old recommendations, up", [(10, 10), (9, 9)], 1, 100, 0, 0, 100),
    ("scale down, obsolete recommendations", [(10, 10), (9, 9), (2, 5), (1, 4)], 100, 3, 0, 180, 5),
    ("scale up, obsolete recommendations", [(100, 10), (3, 9), (2, 5), (1, 6)], 1, 100, 300, 0, 5),
    ("both windows, need goes down", [(100, 2), (3, 3)], 2, 1, 300, 300, 2),
    ("both windows, need goes up", [(100, 2), (3, 1)], 2, 3, 300, 300, 2),
]


@pytest.mark.parametrize(
    ("history", "current", "need", "up_seconds", "down_seconds", "expected"), [case[1:] for case in TABLE]
)
def test_agrees_with_hpa(
    history: list[tuple[int, int]], current: int, need: int, up_seconds: int, down_seconds: int, expected: int
) -> None:
    needs = Needs()
    for minutes_ago, earlier in history:
        needs = needs.record(NOW - minutes_ago * MINUTE, earlier)
    needs = needs.record(NOW, need)
    held = hold_by_window(
        Draft(need),
        current,
        needs,
        up_seconds=up_seconds,
        down_seconds=down_seconds,
        bounds=Bounds(1, None),
        now=NOW,
    )
    assert held.number == expected


def test_a_need_leaves_the_window_at_its_end() -> None:
    needs = Needs().record(NOW, 7).record(NOW + 60, 3)
    assert needs.highest(NOW + 59.9, 60) == 7
    assert needs.highest(NOW + 60, 60) == 3
    assert needs.lowest(NOW + 121, 60) is None


def test_a_longer_window_still_finds_what_a_shorter_one_had_left_behind() -> None:
    needs = Needs()
    for minute, need in enumerate([9, 4, 6, 2, 1]):
        needs = needs.record(NOW + minute * MINUTE, need)
    now = NOW + 4 * MINUTE
    assert [needs.highest(now, seconds) for seconds in (30, 90, 150, 400)] == [1, 2, 6, 9]


def test_needs_are_few_however_long_the_pool_lives() -> None:
    needs = Needs()
    for second in range(5000):
        needs = needs.record(NOW + second, second % 7)
    assert len(needs.highs) <= 7
    assert len(needs.lows) <= 7


def test_needs_older_than_any_window_are_forgotten() -> None:
    needs = Needs().record(NOW, 9).record(NOW + KEPT_SECONDS, 1)
    assert needs.highs == ((NOW + KEPT_SECONDS, 1),)


def test_changes_older_than_any_period_are_forgotten() -> None:
    memory = KnobMemory().with_change(NOW, 2).with_change(NOW + KEPT_SECONDS, -1).with_change(NOW + KEPT_SECONDS + 1, 0)
    assert [change.replicas for change in memory.changes] == [-1]
