"""Three pictures: latency CDF, throughput over time, rows per denoising step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fluxpool_bench.client import Outcome
from fluxpool_bench.session import Run

mpl.use("Agg")

BINS, LEAST_BIN_SECONDS = 40, 0.25
LEGEND_CHARACTERS = 150
"""In one line of a legend."""
COLOURS = tuple(f"C{number}" for number in range(10))
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "///", "...", "xxx")
"""Of bars, as `LINES` of curves."""


@dataclass(frozen=True, slots=True)
class Group:
    """All rounds of the same load on the same server: one curve.

    Attributes:
        colour: The same for a load on every server.
        style: Place in `LINES` and `HATCHES`: tells servers apart, and loads that are more than there are colours.
    """

    label: str
    colour: str
    style: int
    runs: tuple[Run, ...]


def write(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the PNGs of a session. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures(runs).items():
        figure.savefig(folder / name, dpi=120)
        written.append(folder / name)
    return written


def figures(runs: Sequence[Run]) -> dict[str, Figure]:
    """The pictures by the names of their files; rows per step only where a server tells."""
    groups = _groups(runs)
    plots = {"latency.png": _latency, "throughput.png": _throughput}
    if any(sum(run.steps_by_rows.values()) for run in runs):
        plots["rows.png"] = _rows
    drawn = {}
    for name, draw in plots.items():
        drawn[name] = Figure(figsize=(9, 5), layout="constrained")
        axes = drawn[name].subplots()
        draw(axes, groups)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        _legend(drawn[name], axes)
    return drawn


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the picture, where it hides no curve, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(LEGEND_CHARACTERS // (max(map(len, labels)) + 8), 1)  # 8: about what a curve's sample takes
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize="small")


def _groups(runs: Sequence[Run]) -> list[Group]:
    targets, loads = (
        list(dict.fromkeys(names)) for names in zip(*((r.target, str(r.load)) for r in runs), strict=True)
    )
    return [
        Group(
            f"{target}: {load}" if len(targets) > 1 else load,
            COLOURS[place % len(COLOURS)],
            (targets.index(target) + len(targets) * (place // len(COLOURS))) % len(LINES),
            tuple(run for run in runs if (run.target, str(run.load)) == (target, load)),
        )
        for place, load in enumerate(loads)
        for target in targets
    ]


def _latency(axes: Axes, groups: Sequence[Group]) -> None:
    for group in groups:
        latencies = sorted(r.latency for run in group.runs for r in run.records if r.outcome is Outcome.OK)
        shares = np.arange(len(latencies) + 1) / max(len(latencies), 1)
        label = group.label + _unanswered(group.runs)
        axes.step([0, *latencies], shares, LINES[group.style], where="post", color=group.colour, label=label)
    since = groups[0].runs[0].load.since
    xlabel = f"latency in s, from when a request was {since} to its last byte"
    axes.set(xlabel=xlabel, ylabel="share of answered requests")
    axes.set(xlim=(0, None), ylim=(0, 1.02), title="Latency")


def _unanswered(runs: Sequence[Run]) -> str:
    outcomes = [record.outcome for run in runs for record in run.records]
    counts = {outcome: outcomes.count(outcome) for outcome in Outcome if outcome is not Outcome.OK}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f" ({told})" if told else ""


def _throughput(axes: Axes, groups: Sequence[Group]) -> None:
    for group in groups:
        records = group.runs[-1].records
        end = max(record.done for record in records)
        bins = min(max(int(end / LEAST_BIN_SECONDS), 1), BINS)
        done = [record.done for record in records for _ in range(record.images)]
        counts, edges = np.histogram(done, bins=np.linspace(0, end, bins + 1))
        stairs = axes.stairs(counts * bins / end, edges, baseline=None, color=group.colour, label=group.label)
        stairs.set(linestyle=LINES[group.style], linewidth=1.5)
    which = " (last round)" if len(groups[0].runs) > 1 else ""
    axes.set(xlabel="s from the start of the run", ylabel="images/s")
    axes.set(xlim=(0, None), ylim=(0, None), title=f"Throughput over time{which}")


def _rows(axes: Axes, groups: Sequence[Group]) -> None:
    groups = [group for group in groups if any(sum(run.steps_by_rows.values()) for run in group.runs)]
    bounds = _bounds([run for group in groups for run in group.runs])
    width = 0.8 / len(groups)
    for number, group in enumerate(groups):
        steps = np.array([sum(run.steps_by_rows.get(f"{bound:g}", 0.0) for run in group.runs) for bound in bounds])
        places, shares = np.arange(len(bounds)) + number * width, steps / steps.sum()
        hatch = HATCHES[group.style]
        axes.bar(places, shares, width, color=group.colour, hatch=hatch, edgecolor="white", label=group.label)
    spans = [_span(below, bound) for below, bound in pairwise([0, *bounds])]
    axes.set_xticks(np.arange(len(bounds)) + 0.4 - width / 2, spans)
    axes.set(xlabel="rows in a step", ylabel="share of steps", title="Rows per denoising step")


def _bounds(runs: Sequence[Run]) -> list[float]:
    """Upper bounds up to the last that has a step in any run; a run whose steps are not known has none."""
    counts = [(float(bound), count) for run in runs for bound, count in run.steps_by_rows.items()]
    most = max(bound for bound, count in counts if count)
    return sorted({bound for bound, _ in counts if bound <= most})


def _span(below: float, bound: float) -> str:
    """What is counted at a bound: whole numbers above the bound below."""
    if math.isinf(bound):
        return f"> {below:g}"
    return f"{bound:g}" if bound == below + 1 else f"{below + 1:g} to {bound:g}"
