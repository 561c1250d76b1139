"""Figures in the README come from recorded results, and from nowhere else."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).parents[2]


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


def test_a_cell_is_told_against_the_peer_it_looks_worst_against_and_against_the_bare_loop(tmp_path: Path) -> None:
    comparisons = [
        compared("a", "throughput", 1.5, "ahead"),
        compared("b", "throughput", 0.8, "behind"),
        compared("a", "p50", 0.3, "ahead"),
        compared("b", "p50", 0.2, "ahead"),
        compared("bare loop", "throughput", 0.95, "tie"),
    ]
    cell = {"model": "tiny, 0.28 M parameters", "load": "8 clients", "comparisons": comparisons}
    parts = {"x": {"figures": {"cells": {"uniform": cell, "overload": {"model": "small"}}}}, "y": {"figures": {}}}
    (tmp_path / "a.json").write_text(json.dumps({"parts": parts}))
    servers = "| uniform | tiny | 8 clients | 0.80 (0.70 to 0.90), behind, b | 0.30 (0.20 to 0.40), **ahead**, a |"
    row = f"{servers}  | 0.95 (0.85 to 1.05), tie |"
    assert quote.quoted("<!-- cells: a -->\n<!-- end -->", tmp_path).splitlines()[3:-1] == [row]


def test_filling_twice_is_filling_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RESULT))
    once = quote.quoted(README, tmp_path)
    assert quote.quoted(once, tmp_path) == once


def test_the_readme_says_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quote.py", "--check"])
    assert quote.main() == 0
