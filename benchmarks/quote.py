"""Copies the recorded figures from `benchmarks/results/` into the README, so that no figure there is typed by hand.

Between `<!-- results: NAME -->` and `<!-- end -->` stand all figures of NAME.json, after `aims` those that have an aim,
and after `cells` its cells, one side beside the others, and of which commits they are.

python benchmarks/quote.py --write     put the tables between the README's markers
python benchmarks/quote.py --check     exit 1 if the README says something else than the results
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from record import span, together

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BARE = "bare loop"
_BLOCK = re.compile(r"<!-- (?P<kind>results|aims|cells): (?P<name>\S+) -->.*?<!-- end -->", re.DOTALL)


def table(result: dict[str, Any]) -> str:
    """One row per aim; `met` is null where a figure has no aim and is reported only."""
    rows = ["| figure | measured | aim | met |", "|---|---|---|---|"]
    rows += [f"| {aim['name']} | {aim['value']} | {aim['aim']} | {_met(aim['met'])} |" for aim in result["aims"]]
    machine, date = result["machine"], result["date"]
    paced = " The pods were paced: each step was held to the speed of a slow GPU." if result["paced"] else ""
    return "\n".join([*rows, "", f"Measured {date} on {machine}; `{result['command']}`.{paced}"])


def aims(result: dict[str, Any]) -> str:
    """The same without the figures that have no aim."""
    return table(result | {"aims": [aim for aim in result["aims"] if aim["met"] is not None]})


def cells(result: dict[str, Any]) -> str:
    """One row per cell: ours over the best of the others, which is the one against which we look worst."""
    found = dict(_cells(result))
    header = (
        "cell", "model", "each image", "rows", "load",
        "images/s", "median latency", "slowest (p99)", "images/s over the bare loop",
    )  # fmt: skip
    rows = [header, *(_row(name, cell) for name, cell in found.items())]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:], "", _measured(found)])


def _cells(result: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for part in result["parts"].values():
        yield from part["figures"].get("cells", {}).items()


def _row(name: str, cell: Mapping[str, Any]) -> list[str]:
    model = cell["model"].split(",")[0]
    asked = [name, model, f"{_work(cell['kinds'])}, {cell['text_tokens']} text tokens", str(cell["rows"])]
    if "comparisons" not in cell:
        return [*asked, *_overload(cell)]
    figures = (_worst(cell["comparisons"], figure) for figure in ("throughput", "p50", "p99"))
    bare = [one for one in cell["comparisons"] if one["against"] == BARE]
    return [*asked, cell["load"], *figures, _ratio(bare[0]) if bare else ""]


def _work(kinds: Sequence[str]) -> str:
    """What each image may be: `64x64, 4 steps` and `64x64, 8 steps` are `64x64, 4/8 steps`."""
    size, steps, *others = (dict.fromkeys(one) for one in zip_longest(*(kind.split(", ") for kind in kinds)))
    counts = "/".join(one.removesuffix(" steps") for one in steps)
    some = [f"some: {word}" for words in others for word in words if word]
    return ", ".join(["/".join(size), f"{counts} steps", *some])


def _overload(cell: Mapping[str, Any]) -> list[str]:
    """Load and figures of a cell with no side but ours: it has no ratios to others, but to its own peak and promise."""
    goodput = statistics.median(one["goodput"] for one in cell["rounds"])
    late = max(one["p99_over_bound"] for one in cell["rounds"])
    peak = f"{goodput:.2f} of its own peak; no other side"
    return [f"open, 10 x the peak of {cell['load']}", peak, "", f"{late:.2f} of what was promised, worst round", ""]


def _measured(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Of which commits the cells are, and when and how they were measured; most are alike, and come last."""
    alike: dict[str, list[str]] = {}
    for name, cell in cells.items():
        commits = " and ".join(dict.fromkeys(run["commit"] for run in cell["runs"]))
        commands = together(run["command"] for run in cell["runs"])
        told = f"of commit {commits}, measured {span(one['date'] for one in cell['rounds'])} by `{commands}`"
        alike.setdefault(told, []).append(f"`{name}`")
    *others, (most, _) = sorted(alike.items(), key=lambda one: len(one[1]))
    said = [f"{', '.join(names)}: {told}" for told, names in others]
    return "; ".join([*said, f"{'all others' if said else 'All'}: {most}"]) + "."


def _worst(comparisons: Sequence[Mapping[str, Any]], figure: str) -> str:
    found = [one for one in comparisons if one["figure"] == figure and one["against"] != BARE]
    if not found:
        return ""
    best = min if figure == "throughput" else max
    one = best(found, key=lambda one: one["ratio"])
    return f"{_ratio(one)}, {one['against']}"


def _ratio(one: Mapping[str, Any]) -> str:
    verdict = "**ahead**" if one["verdict"] == "ahead" else one["verdict"]
    return f"{one['ratio']:.2f} ({one['interval'][0]:.2f} to {one['interval'][1]:.2f}), {verdict}"


def block(kind: str, result: Path) -> str:
    """What stands between two markers; a run that was not made yet is told as that."""
    return TABLES[kind](json.loads(result.read_text())) if result.exists() else "Not recorded yet."


TABLES = {"results": table, "aims": aims, "cells": cells}


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "**no**"


def quoted(readme: str, results: Path) -> str:
    """The README with every block between markers filled from what is recorded."""

    def filled(found: re.Match[str]) -> str:
        kind, name = found["kind"], found["name"]
        return f"<!-- {kind}: {name} -->\n{block(kind, results / f'{name}.json')}\n<!-- end -->"

    return _BLOCK.sub(filled, readme)


def main() -> int:
    """Exit code 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verb = parser.add_mutually_exclusive_group(required=True)
    verb.add_argument("--write", action="store_true")
    verb.add_argument("--check", action="store_true")
    args = parser.parse_args()
    now = README.read_text()
    want = quoted(now, ROOT / "benchmarks" / "results")
    if args.write:
        README.write_text(want)
    elif now != want:
        sys.stderr.write("README.md quotes other figures than benchmarks/results: run `make generate`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
