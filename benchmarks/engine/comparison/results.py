"""Keeps what was measured, cell by cell, and composes `benchmarks/results/engine.json` from it.

The rounds of a cell lie in `out/engine/CELL.json`, written after each round, so that a run that is cut off is a result
as far as it went, and rounds can be added to a cell later. Each names its run, one call of the command: under which
conditions it was measured is kept with it, and what is recorded of a cell says that of its rounds, whenever that is.
"""

import json
import shlex
import statistics
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from record import RESULTS, Aim, Part, machine, merged, record, replace_file, span, together

from comparison import figures
from comparison.cells import BARE, CELLS

ROOT = Path(__file__).resolve().parents[3]
RAW = ROOT / "out" / "engine"
COMMAND = ("tests/.venv/bin/python", "benchmarks/engine/compare.py")
_RESULT = "engine"
_FAMILIES: Mapping[str, Sequence[str]] = {
    "comparison: uniform": tuple(cell.name for cell in CELLS if cell.name.startswith("uniform")),
    "comparison: mixed steps": ("mixed_steps",),
    "comparison: original design": ("original", "original_36m"),
    "comparison: other loads": ("mixed_sizes", "bursts", "cancellations"),
    "comparison: overload": ("overload", "overload_paced"),
}


def load(cell: str, folder: Path = RAW) -> dict[str, Any]:
    """What is there of a cell; no rounds where there is nothing."""
    path = folder / f"{cell}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"cell": {}, "runs": [], "rounds": []}
    return found


def save(cell: str, document: Mapping[str, Any], folder: Path = RAW) -> None:
    """Replace what is there of a cell, at once: a run that is killed leaves its last round whole."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{cell}.json", json.dumps(document, allow_nan=False) + "\n")


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """What all rounds of one call of the command have in common."""
    command = shlex.join([*COMMAND, *arguments])
    return {"commit": commit(), "command": command, "machine": machine(), "versions": versions()}


def compose(folder: Path = RAW, to: Path = RESULTS) -> list[str]:
    """Record every family from the cells of `folder` that have enough rounds, and else from what is recorded of them.

    Returns what was recorded, and what was not, in words.
    """
    said, documents = [], _recorded(to)
    for cell in CELLS:
        document = load(cell.name, folder)
        if figures.suffice(document["rounds"]):
            documents[cell.name] = document
        elif document["rounds"]:
            said.append(f"{cell.name}: not recorded, {_too_few(document['rounds'])}")
    for family, names in _FAMILIES.items():
        cells = {name: documents[name] for name in names if name in documents}
        if cells:
            aims = list(_aims(family, {name: document["rounds"] for name, document in documents.items()}))
            record(_RESULT, _part(family, cells, aims), to)
            said += [f"{aim.name}: {aim.value} ({aim.aim})" for aim in aims]
    return said


def _recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """What is recorded of each cell, as `load` has it."""
    path = folder / f"{_RESULT}.json"
    parts = json.loads(path.read_text())["parts"] if path.exists() else {}
    return {
        name: {"cell": cell, "runs": cell["runs"], "rounds": cell["rounds"]}
        for part in parts.values()
        for name, cell in part["figures"].get("cells", {}).items()
    }


def _too_few(rounds: figures.Rounds) -> str:
    return (
        f"{len(rounds)} rounds in {figures.lives(rounds)} lives of the sides, "
        f"of at least {figures.LEAST_PAIRS} in {figures.LEAST_LIVES}"
    )


def _part(family: str, cells: Mapping[str, Mapping[str, Any]], aims: Sequence[Aim]) -> Part:
    runs = [one for document in cells.values() for one in document["runs"]]
    return Part(
        name=family,
        command=together(one["command"] for one in runs),
        versions=merged(one["versions"] for one in runs),
        aims=aims,
        figures={"cells": {name: _cell(document) for name, document in cells.items()}},
        machine=together(one["machine"] for one in runs),
        date=span(one["date"] for document in cells.values() for one in document["rounds"]),
    )


def _aims(family: str, rounds: Mapping[str, figures.Rounds]) -> Iterator[Aim]:
    def of(cell: str) -> figures.Rounds:
        return rounds.get(cell, [])

    match family:
        case "comparison: uniform":
            yield from figures.uniform_aims(of("uniform_c8"), of("uniform_c8_36m"), of("original_36m"))
        case "comparison: mixed steps":
            yield from figures.mixed_aims(of("mixed_steps"))
        case "comparison: original design":
            yield from figures.original_aims(of("original"), of("original_36m"))
        case "comparison: overload":
            yield from figures.overload_aims(of("overload"), of("overload_paced"))


def _cell(document: Mapping[str, Any]) -> dict[str, Any]:
    cell, rounds = document["cell"], document["rounds"]
    kept = {"runs": document["runs"], "rounds": rounds}
    if "peak" in rounds[0]:
        return {**cell, **kept}
    sides = {}
    for name in figures.sides(rounds):
        samples = [one[name] for one in rounds if name in one]
        failed = sum(sample["failed"] for sample in samples)
        sides[name] = _medians(samples, cell["figures"] if name != BARE else ["throughput"]) | {"failed": failed}
    return {**cell, "sides": sides, "comparisons": list(figures.comparisons(rounds, cell["figures"])), **kept}


def _medians(samples: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    found = {}
    for name in names:
        values = [value for sample in samples if (value := figures.figure(sample, name)) is not None]
        if values:
            found[name] = round(statistics.median(values), 5)
    return found


def commit() -> str:
    """Of this checkout, short; with a plus where files other than results differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", ".", ":!benchmarks/results")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def versions() -> dict[str, str]:
    """Of the libraries that make the images, and of the peers, as locked."""
    found = locked(ROOT / "inference" / "uv.lock")
    wanted = {name: found[name] for name in ("torch", "diffusers", "transformers", "fastapi")}
    for peer in ("mosec", "litserve"):
        wanted[peer] = locked(ROOT / "benchmarks" / "engine" / "peers" / peer / "uv.lock")[peer]
    return wanted


def locked(lock: Path) -> dict[str, str]:
    """Version by name."""
    packages = tomllib.loads(lock.read_text())["package"]
    return {package["name"]: package.get("version", "") for package in packages}
