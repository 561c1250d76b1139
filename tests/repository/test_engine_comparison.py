"""The comparison with the peers: what its figures say of samples, and that all sides have the same libraries."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "benchmarks"), str(TOP / "benchmarks" / "engine")]

from comparison import figures, measure, processes, results  # noqa: E402 - after the path
from comparison.cells import BARE, CELLS, LOCK, MAX_QUEUE_SECONDS, OURS, POOL, SERVERS, TEXT_TOKENS  # noqa: E402 - after the path
from comparison.measure import Sample  # noqa: E402
from comparison.overload import OverloadRound  # noqa: E402

from fluxpool_bench.client import Outcome, Record  # noqa: E402
from fluxpool_bench.session import Load  # noqa: E402
from fluxpool_bench.workload import Request  # noqa: E402
from fluxpool_demo.record import Pacing  # noqa: E402

SAME = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "pillow")


def sample(throughput: float, p50: float, short: float | None = None) -> dict[str, Any]:
    kinds = {"64x64, 28 steps": p50} if short is None else {"64x64, 4 steps": short, "64x64, 28 steps": p50}
    return {"throughput": throughput, "p50": p50, "p99": 2 * p50, "p50_by_kind": kinds, "failed": 0}


def rounds(**sides: dict[str, Any]) -> list[dict[str, Any]]:
    """Ten equal rounds in five lives; `fluxpool` and peers by the names that a keyword can have."""
    named = {OURS: sides.pop("ours")} | {name.replace("_", " "): one for name, one in sides.items()}
    return [{**named, "life": number // 2, "run": 0, "date": "2026-11-25"} for number in range(10)]


def aims(found: Any) -> dict[str, tuple[float | None, bool | None]]:
    return {aim.name: (aim.value, aim.met) for aim in found}


def test_the_best_peer_is_the_one_against_which_we_look_worst() -> None:
    measured = rounds(ours=sample(30, 1), mosec=sample(20, 3), LitServe=sample(10, 2))
    in_throughput, in_latency = (figures.worst(measured, figure) for figure in ("throughput", "p50"))
    assert in_throughput is not None
    assert in_throughput.ratio == 1.5
    assert in_latency is not None
    assert in_latency.ratio == 0.5


def test_mixed_steps_are_judged_by_the_short_requests_and_by_the_throughput() -> None:
    measured = rounds(ours=sample(13, 9, short=1), mosec=sample(10, 9, short=4), LitServe=sample(9, 9, short=5))
    assert aims(figures.mixed_aims(measured)) == {
        "mixed_short_median_vs_best_peer": (0.25, True),
        "mixed_throughput_vs_best_peer": (1.3, True),
    }


def test_one_peer_that_is_not_behind_for_certain_spoils_ahead_of_every_server() -> None:
    clear = rounds(ours=sample(20, 1), mosec=sample(10, 1), bare_loop=sample(22, 1))
    assert aims(figures.uniform_aims(clear, clear, clear)) == {
        "uniform_c8_vs_bare": (0.909, True),
        "uniform_c8_vs_best_peer": (2.0, True),
    }
    noise = [one | {"LitServe": sample(19 if one["life"] % 2 else 21, 1)} for one in clear]
    for cells in ((noise, clear, clear), (clear, noise, clear), (clear, clear, noise)):
        assert aims(figures.uniform_aims(*cells))["uniform_c8_vs_best_peer"][1] is False


def test_ahead_of_every_server_wants_every_cell_in_which_one_is() -> None:
    clear = rounds(ours=sample(20, 1), mosec=sample(10, 1), bare_loop=sample(22, 1))
    close = rounds(ours=sample(11, 1), original=sample(10, 1))
    assert aims(figures.uniform_aims(clear, clear, close))["uniform_c8_vs_best_peer"] == (1.1, True)
    assert aims(figures.uniform_aims([], clear, close))["uniform_c8_vs_best_peer"] == (None, False)
    assert aims(figures.uniform_aims(clear, [], close))["uniform_c8_vs_best_peer"] == (None, False)
    assert aims(figures.uniform_aims(clear, clear, []))["uniform_c8_vs_best_peer"] == (None, False)


def test_the_original_is_judged_by_its_better_mode() -> None:
    named = {OURS: sample(60, 1), LOCK: sample(10, 4), POOL: sample(12, 1.9)}
    measured = [{**named, "life": number} for number in range(10)]
    found = aims(figures.original_aims(measured, []))
    assert found["original_throughput"] == (5.0, True)
    assert found["original_latency"] == (0.526, False)
    assert found["original_throughput, 36 M parameters"] == (None, None)


def one_overload(p99_over_bound: float, overruns: int = 0) -> dict[str, Any]:
    peak, load = (Sample(throughput, 1.0, 6.0 * p99_over_bound, {}, 10, 0, 0, 0) for throughput in (10.0, 9.5))
    waits = ((1.1, 1.0), (2.0, 1.0), (0.9, 1.0))
    own = 6.0 - MAX_QUEUE_SECONDS
    round_ = OverloadRound(peak, own, own / 2, load, waits, 200, overruns)
    kept: dict[str, Any] = json.loads(json.dumps(round_.as_dict()))
    return kept


def test_goodput_counts_only_where_the_promised_wait_was_kept() -> None:
    well = [one_overload(0.99)] * 10
    kept, broken = (aims(figures.overload_aims(rounds, [])) for rounds in (well, [*well, one_overload(1.0004)]))
    assert kept["overload_goodput"] == (0.95, True)
    assert broken["overload_goodput"] == (0.95, False)
    assert kept["wait_estimate_error"] == (0.1, True)
    name = "overload: p99 of the admitted over max_queue_seconds + own time"
    assert kept["overload: p99 of the waits over max_queue_seconds, worst round"] == (1 / MAX_QUEUE_SECONDS, None)
    assert broken[f"{name}, worst round"] == (1.0, None)
    assert broken[f"{name}, median round"] == (0.99, None)
    assert kept[f"{name} of a batch's median image, worst round"] == (1.08, None)


def test_what_a_paced_device_shows_of_the_control_is_reported_if_its_pace_was_held() -> None:
    rounds = [one_overload(late, overruns) for late, overruns in ((0.9, 0), (0.8, 4), (0.95, 2))]
    name = "overload_paced: p99 of the admitted over max_queue_seconds + own time"
    found = aims(figures.overload_aims([], rounds))
    assert found["overload_goodput"] == (None, False)
    assert found["wait_estimate_error"] == (None, False)
    assert {name: value for name, value in found.items() if name.startswith("overload_paced")} == {
        "overload_paced: goodput": (0.95, None),
        "overload_paced: wait estimate error": (0.1, None),
        f"{name}, worst round": (0.95, None),
        f"{name}, median round": (0.9, None),
        f"{name} of a batch's median image, worst round": (1.036, None),
        "overload_paced: p99 of the waits over max_queue_seconds, worst round": (1 / MAX_QUEUE_SECONDS, None),
        "overload_paced: share of steps that overran their pace": (0.01, True),
    }
    rounds.append(one_overload(0.9, 3))
    spoilt = aims(figures.overload_aims([], rounds))["overload_paced: share of steps that overran their pace"]
    assert spoilt == (0.0112, False)
    uncounted = {name: value for name, value in rounds[0].items() if name not in {"paced_steps", "pace_overruns"}}
    for known, share in ((rounds, (0.0112, False)), ([], (None, False))):
        found = aims(figures.overload_aims([], [*known, uncounted]))
        assert found["overload_paced: share of steps that overran their pace"] == share


def test_a_round_is_its_sides_and_what_is_known_of_it() -> None:
    measured = rounds(ours=sample(20, 1), mosec=sample(10, 1), bare_loop=sample(22, 1))
    assert figures.sides(measured) == [OURS, "mosec", BARE]
    assert figures.servers(measured) == ["mosec"]


def test_a_life_that_was_otherwise_makes_no_certainty_of_its_rounds() -> None:
    def measured(lives: list[int]) -> list[dict[str, Any]]:
        speeds = [12.0] * 9 + [9.0]
        return [
            {OURS: sample(speed, 1), "mosec": sample(10, 1), "life": life}
            for speed, life in zip(speeds, lives, strict=True)
        ]

    in_two, in_ten = ([0] * 9 + [1], list(range(10)))
    found = [figures.worst(measured(lives), "throughput") for lives in (in_two, in_ten)]
    assert [one and one.verdict for one in found] == ["tie", "ahead"]


def test_nothing_measured_meets_no_aim() -> None:
    empty = [*figures.mixed_aims([]), *figures.uniform_aims([], [], []), *figures.overload_aims([], [])]
    assert [aim.met for aim in empty] == [False] * len(empty)


def test_intervals_need_enough_rounds_in_enough_lives() -> None:
    measured = rounds(ours=sample(13, 9), mosec=sample(10, 9))
    assert figures.suffice(measured)
    assert not figures.suffice(measured[:9])
    in_four_lives = [one | {"life": one["life"] % 4} for one in measured]
    assert not figures.suffice(in_four_lives)


def test_every_side_has_every_place_in_the_order_and_its_neighbours_change_sides() -> None:
    names = ("a", "b", "c")
    orders = [list(measure.turns(names, number)) for number in range(6)]
    assert all(sorted(order) == list(names) for order in orders)
    assert {order[0] for order in orders} == {order[-1] for order in orders} == set(names)


def test_all_sides_of_a_round_get_the_same_requests_and_no_prompt_comes_twice_in_any_cell() -> None:
    drawn = [request for cell in CELLS for number in range(3) for request in measure.draw(cell, number)]
    assert len({request.prompt for request in drawn}) == len(drawn)
    assert all(len(request.prompt) < TEXT_TOKENS for request in drawn), "a letter is a token"
    assert measure.draw(CELLS[0], 1) == measure.draw(CELLS[0], 1)


def test_a_sample_knows_the_median_of_each_kind_and_the_first_failure() -> None:
    records = [
        Record(index, kind, 0.0, 0.0, done, outcome, int(outcome is Outcome.OK), 1, detail)
        for index, (kind, done, outcome, detail) in enumerate(
            [("x", 1.0, Outcome.OK, ""), ("y", 2.0, Outcome.OK, ""), ("y", 0.1, Outcome.FAILED, "500: no")]
        )
    ]
    found = measure.Sample.of(records)
    assert (found.throughput, found.p50_by_kind, found.failed, found.detail) == (
        1.0,
        {"x": 1.0, "y": 2.0},
        1,
        "500: no",
    )


def test_a_process_tree_is_paused_and_resumed_with_all_that_descends_from_it() -> None:
    parent = subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; true'; true"])
    try:
        until(lambda: len(processes.tree(parent.pid)) == 3)
        tree = processes.tree(parent.pid)
        processes.pause(parent.pid)
        until(lambda: {state(pid) for pid in tree} == {"T"})
        processes.resume(parent.pid)
        until(lambda: "T" not in {state(pid) for pid in tree})
    finally:
        processes.end(parent.pid)
        parent.wait()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until(holds: Callable[[], bool]) -> None:
    """The kernel takes its time."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


class Sleeper:
    """A side that answers once it alone, of all sides, runs."""

    def __init__(self, name: str, pids: dict[int, str]) -> None:
        self._process = subprocess.Popen(["sleep", "60"])
        self.pid, self.log = self._process.pid, Path()
        self._name, self._pids = name, pids
        pids[self.pid] = name

    async def ready(self) -> None:
        pass

    async def run(self, load: Load, requests: Sequence[Request]) -> list[Record]:
        until(lambda: {name for pid, name in self._pids.items() if state(pid) != "T"} == {self._name})
        return [Record(one.index, one.kind.name, 0, 0, 1, Outcome.OK, 1, 1) for one in requests]

    async def pacing(self) -> Pacing:
        assert state(self.pid) != "T"
        return Pacing(1, 0)

    def end(self) -> None:
        processes.end(self.pid)
        self._process.wait()


async def test_while_one_side_is_measured_the_others_stand_still() -> None:
    cell = replace(next(cell for cell in CELLS if cell.name == "mixed_steps"), sides=("a", "b"), requests=5)
    pids: dict[int, str] = {}
    members = {name: Sleeper(name, pids) for name in cell.sides}
    try:
        for member in members.values():
            processes.pause(member.pid)
        on = measure.Stage(members, rows=4)
        measured = [one async for one in measure.rounds(on, cell, first=3, count=2)]
        assert await on.pacing("a") == Pacing(1, 0)
        until(lambda: state(members["a"].pid) == "T")
    finally:
        for member in members.values():
            member.end()
    assert [list(one) for one in measured] == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("peer", ["kit", "fastapi", "mosec", "litserve"])
def test_a_peer_makes_its_images_by_the_libraries_that_we_have(peer: str) -> None:
    ours = results.locked(TOP / "inference" / "uv.lock")
    theirs = results.locked(TOP / "benchmarks" / "engine" / "peers" / peer / "uv.lock")
    assert {name: theirs[name] for name in SAME} == {name: ours[name] for name in SAME}


def test_every_server_and_both_modes_of_the_original_are_in_the_cells_that_decide() -> None:
    sides = {cell.name: set(cell.sides) for cell in CELLS}
    assert {OURS, *SERVERS} <= sides["mixed_steps"]
    assert {OURS, BARE, *SERVERS} <= sides["uniform_c8"] & sides["uniform_c8_36m"]
    assert {OURS, LOCK, POOL} <= sides["original"]
