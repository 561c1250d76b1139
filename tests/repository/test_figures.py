"""Figures in the README come from recorded results, and from nowhere else."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "benchmarks")]  # where a script of it finds its neighbours


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quote_figures", TOP / "benchmarks" / "quote.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quote = load()
README = "before\n<!-- results: a -->\nold\n<!-- end -->\nbetween\n<!-- results: b -->\n<!-- end -->\nafter\n"
AIMS = [
    {"name": "load step to write", "aim": "<= 5 s", "value": "3.1 s", "met": True},
    {"name": "memory", "aim": "<= 150 MiB", "value": "160 MiB", "met": False},
    {"name": "CPU", "aim": "", "value": "1 %", "met": None},
]
RESULT = {"machine": "two cores", "date": "2026-11-25", "command": "make a", "paced": False, "aims": AIMS}


def test_a_block_is_filled_from_its_result_and_what_is_around_it_stays(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RESULT))
    assert quote.quoted(README, tmp_path) == (
        "before\n<!-- results: a -->\n"
        "| figure | measured | aim | met |\n|---|---|---|---|\n"
        "| load step to write | 3.1 s | <= 5 s | yes |\n"
        "| memory | 160 MiB | <= 150 MiB | **no** |\n"
        "| CPU | 1 % |  |  |\n\n"
        "Measured 2026-11-25 on two cores; `make a`.\n<!-- end -->\n"
        "between\n<!-- results: b -->\nNot recorded yet.\n<!-- end -->\nafter\n"
    )


def test_aims_are_the_figures_that_have_one() -> None:
    assert quote.aims(RESULT) == quote.table(RESULT | {"aims": AIMS[:2]})


def test_a_block_of_paced_pods_says_so() -> None:
    assert quote.table(RESULT | {"paced": True}).endswith(
        "`make a`. The pods were paced: each step was held to the speed of a slow GPU."
    )


def compared(peer: str, figure: str, ratio: float, verdict: str) -> dict[str, object]:
    interval = [ratio - 0.1, ratio + 0.1]
    return {"against": peer, "figure": figure, "ratio": ratio, "interval": interval, "verdict": verdict}


def cell(comparisons: list[dict[str, object]], **changes: Any) -> dict[str, Any]:
    """A cell with one round."""
    run = {"commit": "0ff1ce", "command": "compare.py"}
    said = {"model": "tiny, 0.28 M parameters", "text_tokens": 32, "rows": 8, "load": "8 clients"}
    made = {"kinds": ["64x64, 4 steps"], "comparisons": comparisons, "runs": [run], "rounds": [{"date": "2026-11-25"}]}
    return said | made | changes


def lines_of_cells(folder: Path, **cells: dict[str, Any]) -> list[str]:
    """The block between its markers."""
    (folder / "a.json").write_text(json.dumps({"parts": {"x": {"figures": {"cells": cells}}, "y": {"figures": {}}}}))
    block: str = quote.quoted("<!-- cells: a -->\n<!-- end -->", folder)
    return block.splitlines()[1:-1]


def test_a_cell_is_told_against_the_peer_it_looks_worst_against_and_against_the_bare_loop(tmp_path: Path) -> None:
    comparisons = [
        compared("a", "throughput", 1.5, "ahead"),
        compared("b", "throughput", 0.8, "behind"),
        compared("a", "p50", 0.3, "ahead"),
        compared("b", "p50", 0.2, "ahead"),
        compared("bare loop", "throughput", 0.95, "tie"),
    ]
    header, _, row, *_ = lines_of_cells(tmp_path, uniform=cell(comparisons))
    assert header.count("|") == row.count("|")
    assert row == (
        "| uniform | tiny | 64x64, 4 steps, 32 text tokens | 8 | 8 clients "
        "| 0.80 (0.70 to 0.90), behind, b | 0.30 (0.20 to 0.40), **ahead**, a |  | 0.95 (0.85 to 1.05), tie |"
    )


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        (["64x64, 4 steps", "64x64, 28 steps"], "64x64, 4/28 steps"),
        (["64x64, 8 steps", "64x96, 8 steps"], "64x64/64x96, 8 steps"),
        (["64x64, 4 steps", "64x64, 4 steps, gives up after 1 s"], "64x64, 4 steps, some: gives up after 1 s"),
    ],
)
def test_a_cell_names_the_sizes_and_steps_of_its_images(tmp_path: Path, kinds: list[str], told: str) -> None:
    row = lines_of_cells(tmp_path, uniform=cell([], kinds=kinds))[2]
    assert row.startswith(f"| uniform | tiny | {told}, 32 text tokens | 8 |")


def test_a_cell_without_another_side_is_told_against_its_own_peak_and_promise(tmp_path: Path) -> None:
    rounds = [
        {"date": "2026-11-25", "goodput": done / 10, "p99_over_bound": late}
        for done, late in ((9, 0.8), (9.5, 0.94), (12, 0.9))
    ]
    alone = cell([], rounds=rounds)
    del alone["comparisons"]
    header, _, row, _, _ = lines_of_cells(tmp_path, overload=alone)
    assert header.count("|") == row.count("|")
    assert "| open, 10 x the peak of 8 clients | 0.95 of its own peak; no other side |  | 0.94 of what was" in row


def test_cells_say_of_which_commits_they_are_and_when_and_how_they_were_measured(tmp_path: Path) -> None:
    runs = [{"commit": "a", "command": "compare.py x"}, {"commit": "b", "command": "compare.py x --more"}]
    rounds = [{"date": "2026-11-24"}, {"date": "2026-11-26"}]
    cells = {"one": cell([]), "two": cell([], runs=runs, rounds=rounds), "three": cell([])}
    assert lines_of_cells(tmp_path, **cells)[-1] == (
        "`two`: of commit a and b, measured 2026-11-24 to 2026-11-26 by `compare.py x; compare.py x --more`; "
        "all others: of commit 0ff1ce, measured 2026-11-25 by `compare.py`."
    )
    assert lines_of_cells(tmp_path, one=cell([]))[-1].startswith("All: of commit 0ff1ce,")


def test_figures_of_a_gpu_would_stand_in_the_readme(tmp_path: Path) -> None:
    readme = (TOP / "README.md").read_text()
    assert "<!-- aims: gpu -->\nNot recorded yet." in quote.quoted(readme, tmp_path)
    (tmp_path / "gpu.json").write_text(json.dumps(RESULT))
    assert "<!-- aims: gpu -->\n| figure |" in quote.quoted(readme, tmp_path)


def test_filling_twice_is_filling_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RESULT))
    once = quote.quoted(README, tmp_path)
    assert quote.quoted(once, tmp_path) == once


def test_the_readme_says_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quote.py", "--check"])
    assert quote.main() == 0
