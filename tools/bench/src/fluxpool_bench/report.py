"""The JSON result: what was run, where, and every request's times."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fluxpool_bench.session import Run
from fluxpool_bench.summary import compare


def document(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything about a session, ready for `json.dump`."""
    return {
        "command": shlex.join(["fluxpool-bench", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "system": platform.system()},
        "versions": {"fluxpool-bench": version("fluxpool-bench"), "python": platform.python_version()},
        "runs": [_run(run) for run in runs],
        "comparison": comparison(runs),
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "target": run.target,
        "load": str(run.load),
        "round": run.round,
        "summary": run.summary.as_dict(),
        "steps_by_rows": run.steps_by_rows,
        "requests": [asdict(record) for record in run.records],
    }


def comparison(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """First target against second, per load: median ratio over the rounds with a bootstrap 95 % interval.

    "ahead" means that the interval excludes 1 on the better side (more images per second, shorter median latency); an
    interval that holds 1 is a tie. Fewer than `summary.LEAST_PAIRS` rounds have neither interval nor verdict.
    """
    targets = list(dict.fromkeys(run.target for run in runs))
    if len(targets) != 2:
        return []
    cells = {(run.load, run.round, run.target): run.summary for run in runs}
    rows = []
    for load in dict.fromkeys(run.load for run in runs):
        rounds = sorted({run.round for run in runs if run.load == load})
        sides = [(cells[load, number, targets[0]], cells[load, number, targets[1]]) for number in rounds]
        rows.append(
            _row(str(load), "throughput", [(a.throughput, b.throughput) for a, b in sides], higher_is_better=True)
        )
        medians = [(a.p50, b.p50) for a, b in sides if a.p50 is not None and b.p50 is not None]
        rows.append(_row(str(load), "p50", medians, higher_is_better=False))
    return rows


def _row(load: str, figure: str, pairs: Sequence[tuple[float, float]], *, higher_is_better: bool) -> dict[str, Any]:
    pairs = [(a, b) for a, b in pairs if b]
    if not pairs:
        return {"load": load, "figure": figure, "pairs": 0, "verdict": "nothing to compare"}
    found = compare(pairs, higher_is_better=higher_is_better)
    return {
        "load": load,
        "figure": figure,
        "pairs": found.pairs,
        "ratio": found.ratio,
        "interval": found.interval,
        "verdict": found.verdict,
    }


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write the document. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(runs), indent=1) + "\n")
