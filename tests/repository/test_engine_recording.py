"""What a run of the comparison keeps, and what is recorded of a cell: whenever that is, it says how it was measured."""

import argparse
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "benchmarks"), str(TOP / "benchmarks" / "engine")]

import compare  # noqa: E402 - after the path
from comparison import measure, results  # noqa: E402
from comparison.cells import OURS, PEERS  # noqa: E402
from record import today  # noqa: E402

from fluxpool_bench.client import Outcome, Record  # noqa: E402
from fluxpool_bench.session import Load  # noqa: E402
from fluxpool_bench.summary import LEAST_PAIRS  # noqa: E402
from fluxpool_bench.workload import Request  # noqa: E402

RUN = {"commit": "0ff1ce", "command": "compare.py", "machine": "two cores", "versions": {"torch": "1"}}


def document(ours: float = 13, count: int = 10, every: int = 2, **run: Any) -> dict[str, Any]:
    """A cell with `count` equal rounds, `every` of a life."""

    def sample(throughput: float) -> dict[str, Any]:
        kinds = {"64x64, 4 steps": 1.0, "64x64, 28 steps": 9.0}
        return {"throughput": throughput, "p50": 1.0, "p99": 2.0, "p50_by_kind": kinds, "failed": 0}

    rounds = [
        {OURS: sample(ours), "mosec": sample(10), "life": number // every, "run": 0, "date": f"2026-11-{10 + number}"}
        for number in range(count)
    ]
    return {"cell": {"figures": ["throughput"]}, "runs": [RUN | run], "rounds": rounds}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return tmp_path / "results"


def parts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "engine.json").read_text())["parts"]
    return found


def test_only_cells_with_enough_rounds_in_enough_lives_are_recorded_and_others_say_why(
    raw: Path, recorded: Path
) -> None:
    for few in (document(count=9, every=1), document(count=10, every=10)):
        results.save("mixed_steps", few, raw)
        (said,) = results.compose(raw, recorded)
        assert said.startswith("mixed_steps: not recorded, ")
        assert said.endswith("of at least 10 in 5")
        assert not recorded.exists()
    results.save("mixed_steps", document(), raw)
    assert len(results.compose(raw, recorded)) == 2
    cell = parts(recorded)["comparison: mixed steps"]["figures"]["cells"]["mixed_steps"]
    assert cell["comparisons"] == [
        {
            "against": "mosec",
            "figure": "throughput",
            "pairs": 10,
            "ratio": 1.3,
            "interval": [1.3, 1.3],
            "verdict": "ahead",
        }
    ]


def test_what_is_recorded_says_how_its_rounds_were_measured_and_not_how_it_was_recorded(
    raw: Path, recorded: Path
) -> None:
    results.save("uniform_c8", document(machine="old", versions={"torch": "0"}, command="compare.py uniform_c8"), raw)
    results.save("uniform_c1", document(count=12), raw)
    results.compose(raw, recorded)
    part = parts(recorded)["comparison: uniform"]
    assert part["date"] == "2026-11-10 to 2026-11-21"
    assert part["machine"] == "old; two cores"
    assert part["versions"] == {"torch": "0, 1"}
    assert part["command"] == "compare.py uniform_c8; compare.py"
    cells = part["figures"]["cells"]
    assert [run["machine"] for run in cells["uniform_c8"]["runs"]] == ["old"]


def test_a_cell_that_is_not_measured_again_stays_as_it_is_recorded(raw: Path, recorded: Path, tmp_path: Path) -> None:
    results.save("uniform_c8", document(), raw)
    results.save("original_36m", document(), raw)
    results.compose(raw, recorded)
    before = parts(recorded)
    results.compose(tmp_path / "another checkout", recorded)
    assert parts(recorded) == before
    results.save("uniform_c1", document(ours=20), tmp_path / "another checkout")
    results.save("uniform_c8", document(ours=1, count=1), tmp_path / "another checkout")
    results.compose(tmp_path / "another checkout", recorded)
    cells = parts(recorded)["comparison: uniform"]["figures"]["cells"]
    assert cells["uniform_c1"]["sides"][OURS]["throughput"] == 20
    assert cells["uniform_c8"] == before["comparison: uniform"]["figures"]["cells"]["uniform_c8"]
    assert parts(recorded)["comparison: original design"] == before["comparison: original design"]


def test_waits_are_recorded_with_their_rounds_so_that_their_error_can_be_computed_again(
    raw: Path, recorded: Path
) -> None:
    sample = {"throughput": 10.0, "p99": 5.0}
    one = {"peak": sample, "load": sample, "waits": ["0.1100 0.1000"], "p99_over_bound": 0.9, "goodput": 1.0}
    overload = document()
    overload["rounds"] = [{**one, "p99_over_median_bound": 0.9, **facts(kept)} for kept in overload["rounds"]]
    results.save("overload", overload, raw)
    assert "wait_estimate_error: 0.1 (<= 0.2)" in results.compose(raw, recorded)
    kept = parts(recorded)["comparison: overload"]["figures"]["cells"]["overload"]["rounds"]
    assert [one["waits"] for one in kept] == [["0.1100 0.1000"]] * 10


def facts(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in ("life", "run", "date")}


class Stage:
    """Answers everything after a second."""

    async def run(self, name: str, load: Load, requests: Sequence[Request]) -> list[Record]:
        return [Record(one.index, one.kind.name, 0, 0, 1, Outcome.OK, 1, 1) for one in requests]


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch, raw: Path) -> list[Sequence[str]]:
    """Runs of the command start no process and record nothing. Returns who would be started, life by life."""
    started: list[Sequence[str]] = []

    @asynccontextmanager
    async def stage(names: Sequence[str], setup: Any, logs: Path) -> AsyncIterator[Stage]:
        started.append(names)
        yield Stage()

    monkeypatch.setattr(measure, "stage", stage)
    monkeypatch.setattr(compare, "_model", Path)
    monkeypatch.setattr(results, "RAW", raw)
    monkeypatch.setattr(results, "compose", list)
    monkeypatch.setattr(results, "machine", lambda: "two cores")
    monkeypatch.setattr(results, "versions", lambda: {"torch": "1"})
    commits = iter("abc")
    monkeypatch.setattr(results, "commit", lambda: next(commits))
    return started


def options(*arguments: str) -> argparse.Namespace:
    return compare._options(arguments)


async def test_a_round_names_its_life_its_day_and_the_run_it_was_measured_in(
    staged: list[Sequence[str]], raw: Path
) -> None:
    for arguments in (["mixed_steps", "--rounds", "3"], ["mixed_steps", "--rounds", "1", "--more"]):
        await compare.main(options(*arguments))
    kept = results.load("mixed_steps", raw)
    assert [(one["life"], one["run"]) for one in kept["rounds"]] == [(0, 0), (0, 0), (1, 0), (2, 1)]
    assert [run["commit"] for run in kept["runs"]] == ["a", "b"]
    python = "tests/.venv/bin/python benchmarks/engine/compare.py mixed_steps --rounds"
    assert [run["command"] for run in kept["runs"]] == [f"{python} 3", f"{python} 1 --more"]
    assert {one["date"] for one in kept["rounds"]} <= {today()}
    assert [sorted(names) for names in staged] == [sorted((OURS, *PEERS))] * 3
    assert kept["cell"]["kinds"][0] == "64x64, 4 steps"


async def test_cells_of_one_setup_share_their_processes_and_others_have_their_own(
    staged: list[Sequence[str]], raw: Path
) -> None:
    await compare.main(options("uniform_c1", "uniform_c2", "original", "--rounds", "1"))
    assert [len(names) for names in staged] == [3, 6]
    assert all(len(results.load(cell, raw)["rounds"]) == 1 for cell in ("uniform_c1", "uniform_c2", "original"))


@pytest.mark.parametrize(
    ("changed", "value"), [("machine", "another"), ("versions", {"torch": "2"}), ("threads", None)]
)
async def test_rounds_are_not_added_to_those_that_were_measured_otherwise(
    staged: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, changed: str, value: Any
) -> None:
    await compare.main(options("mixed_steps", "--rounds", "1"))
    arguments = ["mixed_steps", "--rounds", "1", "--more"]
    if changed == "threads":
        arguments += ["--threads", "2"]
    else:
        monkeypatch.setattr(results, changed, lambda: value)
    with pytest.raises(SystemExit, match="mixed_steps that are there were measured otherwise"):
        await compare.main(options(*arguments))


def test_by_default_a_cell_has_as_many_lives_as_independent_pairs_would_need() -> None:
    chosen = options()
    assert chosen.rounds // chosen.restart_every >= LEAST_PAIRS


async def test_without_more_a_cell_begins_anew(staged: list[Sequence[str]], raw: Path) -> None:
    for _ in range(2):
        await compare.main(options("mixed_steps", "--rounds", "1"))
    kept = results.load("mixed_steps", raw)
    assert ([run["commit"] for run in kept["runs"]], len(kept["rounds"])) == (["b"], 1)


def test_a_cell_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("uniform")
    assert "there is no cell 'uniform'" in capsys.readouterr().err
