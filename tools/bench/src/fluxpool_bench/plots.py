"""Three pictures: latency CDF, throughput over time, rows per denoising step."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fluxpool_bench.client import Outcome
from fluxpool_bench.session import Run

mpl.use("Agg")


def write(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the PNGs of a session; rows per step only where a server tells. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {"latency.png": _latency, "throughput.png": _throughput}
    if any(sum(run.steps_by_rows.values()) for run in runs):
        plots["rows.png"] = _rows
    written = []
    for name, draw in plots.items():
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots()
        draw(axes, runs)
        axes.grid(alpha=0.3)
        figure.savefig(folder / name, dpi=120)
        written.append(folder / name)
    return written


def _groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Rounds of the same load on the same server belong to one curve."""
    several = len({run.target for run in runs}) > 1
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(f"{run.target}: {run.load}" if several else str(run.load), []).append(run)
    return groups


def _latency(axes: Axes, runs: Sequence[Run]) -> None:
    for label, group in _groups(runs).items():
        latencies = sorted(r.latency for run in group for r in run.records if r.outcome is Outcome.OK)
        if latencies:
            axes.step(latencies, np.arange(1, len(latencies) + 1) / len(latencies), where="post", label=label)
    axes.set(xlabel="latency, s (from due to last byte; answered requests)", ylabel="share of requests", ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.legend(loc="lower right")
    axes.set_title("Latency")


def _throughput(axes: Axes, runs: Sequence[Run]) -> None:
    for label, group in _groups(runs).items():
        run = group[-1]
        done = sorted(record.done for record in run.records for _ in range(record.images))
        if done:
            width = max(done[-1] / 40, 0.25)
            counts, edges = np.histogram(done, bins=np.arange(0, done[-1] + width, width))
            axes.stairs(counts / width, edges, baseline=None, label=label)
    axes.set(xlabel="s from the start of the run", ylabel="images/s")
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.set_title("Throughput over time (last round)")


def _rows(axes: Axes, runs: Sequence[Run]) -> None:
    groups = {
        label: group for label, group in _groups(runs).items() if any(sum(r.steps_by_rows.values()) for r in group)
    }
    bounds = list(next(iter(groups.values()))[0].steps_by_rows)
    used = [any(run.steps_by_rows.get(bound) for group in groups.values() for run in group) for bound in bounds]
    bounds = bounds[: len(bounds) - used[::-1].index(True)]
    width = 0.8 / len(groups)
    for number, (label, group) in enumerate(groups.items()):
        steps = np.array([sum(run.steps_by_rows.get(bound, 0.0) for run in group) for bound in bounds])
        axes.bar(np.arange(len(bounds)) + number * width, steps / max(steps.sum(), 1), width, label=label)
    axes.set_xticks(np.arange(len(bounds)) + 0.4 - width / 2, [f"≤ {bound}" for bound in bounds])
    axes.set(xlabel="rows in a step", ylabel="share of steps")
    axes.legend()
    axes.set_title("Rows per denoising step")
