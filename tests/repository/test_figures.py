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
RESULT = {
    "machine": "two cores",
    "date": "2026-11-25",
    "command": "make a",
    "paced": False,
    "aims": [
        {"name": "load step to write", "aim": "<= 5 s", "value": "3.1 s", "met": True},
        {"name": "memory", "aim": "<= 150 MiB", "value": "160 MiB", "met": False},
        {"name": "CPU", "aim": "", "value": "1 %", "met": None},
    ],
}


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


def test_a_block_of_paced_pods_says_so() -> None:
    assert quote.table(RESULT | {"paced": True}).endswith(
        "`make a`. The pods were paced: each step was held to the speed of a slow GPU."
    )


def test_filling_twice_is_filling_once(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(RESULT))
    once = quote.quoted(README, tmp_path)
    assert quote.quoted(once, tmp_path) == once


def test_the_readme_says_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["quote.py", "--check"])
    assert quote.main() == 0
