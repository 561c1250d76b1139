"""timeline.png: what happened, top to bottom as cause and effect, over one time axis.

Load comes in, requests queue, the batch size rises, replicas follow, latency falls. Every decision of the operator is a
numbered line through all panels, and its reason stands below.
"""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fluxpool_demo.record import Decision, Knob, Recording, Sample

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
LOAD, QUEUE, RUN, BATCH, REPLICAS, LATENCY, FAILED = (
    "#52606d", "#f0b429", "#f7d070", "#7b3fe4", "#0967d2", "#0f8b6d", "#cf1124",
)  # fmt: skip
COLOURS = {Knob.BATCH_SIZE: BATCH, Knob.REPLICAS: REPLICAS}
BIN_SECONDS = 2.5
LATENCY_WINDOW_SECONDS = 10.0
LEAD_SECONDS, TAIL_SECONDS = 4.0, 2.0
LABEL_SECONDS = 14.0
"""As long as the label of a decision is wide."""
HEIGHTS = (1.0, 1.2, 0.85, 0.85, 1.3)
LINE_HEIGHT = 0.115
"""Of a reason, in the unit of HEIGHTS."""
LINE_LENGTH = 165
"""Of a reason, in characters."""
NUMBERS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"


def draw(run: Recording, path: Path) -> None:
    """Draw the run into a PNG."""
    decisions = _numbered(run)
    texts = [(_told(sign, decision, run), COLOURS[decision.knob]) for sign, decision in decisions]
    lines = _wrapped([*texts, (_caption(run), FAINT)])
    heights = (*HEIGHTS, LINE_HEIGHT * len(lines))
    with mpl.rc_context(
        {"font.size": 9, "axes.edgecolor": GRID, "text.color": INK, "xtick.color": FAINT, "ytick.color": FAINT}
    ):
        figure = Figure(figsize=(11, 1.75 * sum(heights)), layout="constrained")
        *panels, foot = figure.subplots(len(heights), 1, height_ratios=heights)
        for panel, paint in zip(panels, (_load, _queue, _batch_size, _replicas, _latency), strict=True):
            paint(panel, run)
            _tidy(panel, run, last=panel is panels[-1])
        _mark(panels, decisions, run)
        _write(foot, lines)
        figure.suptitle(_title(run), fontsize=11.5, fontweight="bold", x=0.008, ha="left")
        figure.savefig(path, dpi=150)


def _title(run: Recording) -> str:
    paced = "tiny model, paced" if run.pacing.steps else "no pace"
    return f"A FluxPool under load: the batch size first, then replicas, then both back  ({paced})"


def _load(panel: Axes, run: Recording) -> None:
    ends = [*run.schedule.starts, run.schedule.seconds]
    rates = [step.rate for step in run.schedule.steps]
    edges = np.arange(0, _end(run) + BIN_SECONDS, BIN_SECONDS)
    done = [request.done_at - run.load_started_at for request in run.requests if request.ok]
    counts, _ = np.histogram(done, bins=edges)
    panel.stairs(counts / BIN_SECONDS, edges, fill=True, color=LATENCY, alpha=0.3, label="answered")
    panel.stairs(rates, ends, color=LOAD, linewidth=1.6, label="asked for")
    for start, step in zip(run.schedule.starts, run.schedule.steps, strict=True):
        panel.annotate(f"{step.rate:g}/s", (start, step.rate), xytext=(3, 3), textcoords="offset points", color=LOAD)
    _name(panel, "images per second")


def _queue(panel: Axes, run: Recording) -> None:
    samples = [sample for sample in _seen(run) if sample.waiting is not None and sample.running is not None]
    times = _times(run, samples)
    running = [sample.running or 0.0 for sample in samples]
    waiting = [sample.waiting or 0.0 for sample in samples]
    panel.stackplot(
        times, running, waiting, colors=(RUN, QUEUE), alpha=0.9, labels=("running", "waiting"), edgecolor="none"
    )
    _name(panel, "requests in the pool")


def _batch_size(panel: Axes, run: Recording) -> None:
    _steps(panel, run, lambda sample: sample.desired_batch_size, BATCH, "desired", dashed=True)
    _steps(panel, run, lambda sample: sample.batch_size, BATCH, "pods run")
    _name(panel, "batch size (rows)")
    _whole_numbers(panel)


def _replicas(panel: Axes, run: Recording) -> None:
    samples = _seen(run)
    panel.fill_between(
        _times(run, samples), [s.ready for s in samples], step="post", color=REPLICAS, alpha=0.18, linewidth=0
    )
    _steps(panel, run, lambda sample: sample.desired_replicas, REPLICAS, "desired", dashed=True)
    _steps(panel, run, lambda sample: sample.ready, REPLICAS, "ready")
    _name(panel, "replicas")
    _whole_numbers(panel)


def _latency(panel: Axes, run: Recording) -> None:
    ok = [request for request in run.requests if request.ok]
    done = np.array([request.done_at - run.load_started_at for request in ok])
    seconds = np.array([request.latency_seconds for request in ok])
    panel.scatter(done, seconds, s=7, color=LATENCY, alpha=0.35, linewidths=0, label="one image")
    failed = [request for request in run.requests if not request.ok]
    if failed:
        times = [request.done_at - run.load_started_at for request in failed]
        panel.scatter(times, [r.latency_seconds for r in failed], s=24, color=FAILED, marker="x", label="failed")
    grid = np.arange(0, _end(run), 1.0)
    panel.plot(grid, _rolling_p95(done, seconds, grid), color=LATENCY, linewidth=1.6, label="p95 of the last 10 s")
    _name(panel, "latency in seconds, from due to image")


def _rolling_p95(done: np.ndarray, seconds: np.ndarray, grid: np.ndarray) -> list[float]:
    values = []
    for now in grid:
        window = seconds[(done <= now) & (done > now - LATENCY_WINDOW_SECONDS)]
        values.append(float(np.percentile(window, 95)) if window.size else float("nan"))
    return values


def _steps(
    panel: Axes, run: Recording, value: Callable[[Sample], int | None], colour: str, label: str, *, dashed: bool = False
) -> None:
    samples = _seen(run)
    values = np.array([value(sample) for sample in samples], dtype=float)
    style = (0, (2, 2)) if dashed else "solid"
    panel.step(
        _times(run, samples),
        values,
        where="post",
        color=colour,
        linestyle=style,
        linewidth=1.2 if dashed else 2,
        label=label,
    )


def _numbered(run: Recording) -> list[tuple[str, Decision]]:
    """The decisions since the load began, with the sign each has in the picture."""
    under_load = [d for d in run.decisions if d.before is not None and d.at >= run.load_started_at]
    return list(zip(NUMBERS, under_load, strict=False))


def _mark(panels: Sequence[Axes], decisions: Sequence[tuple[str, Decision]], run: Recording) -> None:
    """A line through all panels for each decision, and in the panel of its knob what it changed."""
    of_knob = {Knob.BATCH_SIZE: panels[2], Knob.REPLICAS: panels[3]}
    for _, decision in decisions:
        second = decision.at - run.load_started_at
        for panel in panels:
            panel.axvline(second, color=COLOURS[decision.knob], linewidth=0.8, alpha=0.5, zorder=0)
    for knob, panel in of_knob.items():
        for group in _groups([(sign, decision) for sign, decision in decisions if decision.knob is knob]):
            _label(panel, group, run)


def _groups(decisions: Sequence[tuple[str, Decision]]) -> list[list[tuple[str, Decision]]]:
    """Decisions of one knob, those together whose labels would lie on each other."""
    groups: list[list[tuple[str, Decision]]] = []
    for sign, decision in decisions:
        if groups and decision.at - groups[-1][-1][1].at < LABEL_SECONDS:
            groups[-1].append((sign, decision))
        else:
            groups.append([(sign, decision)])
    return groups


def _label(panel: Axes, group: Sequence[tuple[str, Decision]], run: Recording) -> None:
    """What decisions soon after one another changed: to the right of the first's line if it rose, else to the left."""
    first = group[0][1]
    signs = "".join(sign for sign, _ in group)
    numbers = " → ".join(str(number) for number in (first.before, *(decision.after for _, decision in group)))
    panel.annotate(
        f"{signs} {numbers}",
        (first.at - run.load_started_at, 0.06),
        xycoords=("data", "axes fraction"),
        xytext=(4 if first.is_rise else -4, 0),
        textcoords="offset points",
        ha="left" if first.is_rise else "right",
        fontsize=8.5,
        fontweight="bold",
        color=COLOURS[first.knob],
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )


def _told(sign: str, decision: Decision, run: Recording) -> str:
    """A decision with its reason, in the operator's words."""
    second = decision.at - run.load_started_at
    return f"{sign} {second:5.1f} s  {decision.knob} {decision.before} → {decision.after}  {decision.reason}"


def _caption(run: Recording) -> str:
    """What ran, and what the figures say and do not say."""
    ran = f"Kubernetes {run.versions.get('kubernetes', '')}, {run.machine.get('cpus')} cores, {run.date[:10]}"
    scrape = f"Prometheus scrapes every {run.scrape_interval_seconds:g} s"
    pace = "each step is held to the speed of a slow GPU, which is not the speed of FLUX"
    return f"{ran}; {scrape}" + (f"; paced: {pace}." if run.pacing.steps else ".")


def _wrapped(texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (line, colour)
        for text, colour in texts
        for line in textwrap.wrap(text, LINE_LENGTH, subsequent_indent="      ")
    ]


def _write(foot: Axes, lines: Sequence[tuple[str, str]]) -> None:
    """Lines of text with their colours, from the top."""
    foot.set_axis_off()
    for number, (text, colour) in enumerate(lines):
        height = 1 - (number + 0.5) / len(lines)
        foot.text(
            *(0, height, text), transform=foot.transAxes, fontsize=8.5, color=colour, va="center", in_layout=False
        )


def _name(panel: Axes, text: str) -> None:
    panel.set_title(text, loc="left", fontsize=9, color=INK, pad=4)
    panel.margins(y=0.15)
    panel.set_ylim(bottom=0)
    panel.legend(loc="lower right", bbox_to_anchor=(1, 0.98), frameon=False, fontsize=8, ncols=3)


def _whole_numbers(panel: Axes) -> None:
    panel.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    panel.set_ylim(0, panel.get_ylim()[1] * 1.2)


def _tidy(panel: Axes, run: Recording, *, last: bool) -> None:
    panel.grid(axis="y", color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.set_xlim(-LEAD_SECONDS, _end(run) + TAIL_SECONDS)
    panel.tick_params(length=0, labelbottom=last)
    if last:
        panel.set_xlabel("seconds since the load began", color=FAINT)


def _seen(run: Recording) -> list[Sample]:
    return [sample for sample in run.samples if sample.at >= run.load_started_at - LEAD_SECONDS]


def _times(run: Recording, samples: Sequence[Sample]) -> list[float]:
    return [sample.at - run.load_started_at for sample in samples]


def _end(run: Recording) -> float:
    return (run.samples[-1].at if run.samples else run.load_ended_at) - run.load_started_at
