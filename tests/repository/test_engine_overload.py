"""The overload: a round measures the peak, floods, and finds the waits of what it flooded with in the access log."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "benchmarks"), str(TOP / "benchmarks" / "engine")]

from comparison import overload  # noqa: E402 - after the path
from comparison.cells import CELLS, MAX_QUEUE_SECONDS  # noqa: E402
from comparison.measure import Stage  # noqa: E402

from fluxpool_bench.client import Outcome, Record  # noqa: E402
from fluxpool_bench.session import Closed, Load, Open  # noqa: E402
from fluxpool_bench.workload import Request  # noqa: E402
from fluxpool_demo.record import Pacing  # noqa: E402

CELL = replace(next(cell for cell in CELLS if cell.overload), requests=8)
WARM_WAIT, FLOOD_WAIT = (9.0, 1.0), (1.2, 1.0)


def line(seed: int, waits: tuple[float, float]) -> str:
    """Of the access log, of an image."""
    return json.dumps({"seed": seed, "wait_estimate_seconds": waits[0], "wait_seconds": waits[1]})


class FakeStage:
    """Our side alone. A closed loop makes 4 images a second; of a flood every tenth is admitted, and waits.

    As the real one it begins each turn with a batch that warms it up and is logged, and an answer may be logged late.
    """

    def __init__(self, log: Path, *, fails: bool = False) -> None:
        self._log = log
        self._log.touch()
        self._fails = fails
        self._late: list[str] = []
        self._steps = 0
        self.loads: list[Load] = []

    def log(self, name: str) -> Path:
        return self._log

    async def pacing(self, name: str) -> Pacing:
        return Pacing(self._steps, self._steps // 100)

    async def run(self, name: str, load: Load, requests: Sequence[Request]) -> list[Record]:
        self.loads.append(load)
        self._steps += 100
        warm = [line(-number, WARM_WAIT) for number in range(1, CELL.rows + 1)]
        if isinstance(load, Open):
            said = [line(one.seed, FLOOD_WAIT) for one in requests[::10]]
            self._write([*self._late, *warm, *said, '{"message": "drained"}'])
            return [self._record(one, 1.0, refused=one.index % 10 > 0) for one in requests]
        said = [line(one.seed, WARM_WAIT) for one in requests]
        self._write([*self._late, *warm, *said[:-1]])
        self._late = said[-1:]
        return [self._record(one, (place + 1) / 4) for place, one in enumerate(requests)]

    def _write(self, lines: list[str]) -> None:
        with self._log.open("a") as file:
            file.writelines(f"{one}\n" for one in lines)

    def _record(self, one: Request, seconds: float, *, refused: bool = False) -> Record:
        outcome = Outcome.FAILED if self._fails else Outcome.REFUSED if refused else Outcome.OK
        detail = "500: out of luck" if self._fails else ""
        return Record(one.index, one.kind.name, 0.0, 0.0, seconds, outcome, int(outcome is Outcome.OK), 1, detail)


async def rounds(stage: FakeStage, count: int) -> list[overload.OverloadRound]:
    return [one async for one in overload.rounds(cast("Stage", stage), CELL, 0, count, seconds=5.0)]


async def test_a_round_floods_with_ten_times_the_peak_and_knows_the_waits_of_the_flood_alone(tmp_path: Path) -> None:
    stage = FakeStage(tmp_path / "log")
    first, second = await rounds(stage, 2)
    assert first.peak.throughput == 4
    floods = [load for load in stage.loads if isinstance(load, Open)]
    assert [len(flood.arrivals) for flood in floods] == [200, 200]
    assert floods[0].arrivals != floods[1].arrivals
    for one in (first, second):
        assert (one.load.ok, one.load.refused) == (20, 180)
        assert one.waits == (FLOOD_WAIT,) * 20
        turns = overload.FULL_BATCHES + 2
        assert (one.paced_steps, one.pace_overruns) == (100 * turns, turns)
    assert first.goodput == 20 / 1.0 / 4


async def test_a_flood_of_which_nothing_is_admitted_has_no_waits(tmp_path: Path) -> None:
    found = overload.waits([line(-1, WARM_WAIT), '{"seed": 7, "status": 429}'], {7, 8})
    assert list(found) == []


async def test_the_own_time_is_that_of_the_last_and_of_the_median_image_of_a_full_batch(tmp_path: Path) -> None:
    stage = FakeStage(tmp_path / "log")
    (one,) = await rounds(stage, 1)
    assert stage.loads[: overload.FULL_BATCHES] == [Closed(CELL.rows)] * overload.FULL_BATCHES
    assert (one.own_seconds, one.own_median_seconds) == (2.0, 1.125)  # of 0.25, 0.5, ... 2
    assert one.p99_over_bound == 1.0 / (MAX_QUEUE_SECONDS + 2.0)
    assert one.p99_over_median_bound == 1.0 / (MAX_QUEUE_SECONDS + 1.125)


async def test_a_batch_without_a_queue_that_is_not_answered_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="was not answered: 500: out of luck"):
        await rounds(FakeStage(tmp_path / "log", fails=True), 1)


async def test_waits_are_kept_as_lines_and_read_again(tmp_path: Path) -> None:
    (one,) = await rounds(FakeStage(tmp_path / "log"), 1)
    kept: dict[str, Any] = json.loads(json.dumps(one.as_dict()))
    assert kept["waits"][0] == "1.2000 1.0000"
    assert overload.kept_waits(kept["waits"]) == list(one.waits)


def test_an_error_is_relative_to_the_wait_but_for_waits_that_nobody_feels() -> None:
    assert overload.relative_errors([(1.2, 1.0), (0.8, 1.0), (0.006, 0.001)]) == pytest.approx([0.2, 0.2, 0.5])
