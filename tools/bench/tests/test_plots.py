"""What the pictures show."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.patches import StepPatch
from PIL import Image

from fluxpool_bench import plots
from fluxpool_bench.client import Outcome, Record
from fluxpool_bench.session import Closed, Load, Open, Run

ROWS = {"1": 1.0, "2": 0.0, "4": 3.0, "inf": 0.0}


def record(due: float, done: float, outcome: Outcome = Outcome.OK) -> Record:
    return Record(0, "k", due, due, done, outcome, int(outcome is Outcome.OK), 10)


def run(*records: Record, target: str = "t", load: Load | None = None, steps: dict[str, float] | None = None) -> Run:
    return Run(target, load or Closed(1), 1, records or (record(0, 1),), steps or {})


def drawn(name: str, *runs: Run) -> Axes:
    [axes] = plots.figures(runs)[name].axes
    return axes


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for legend in axes.figure.legends for text in legend.get_texts()]


def test_a_latency_curve_rises_at_each_latency_of_all_rounds() -> None:
    axes = drawn("latency.png", run(record(0, 2), record(1, 2)), run(record(0, 4), record(0, 4)))
    [curve] = axes.lines
    assert curve.get_drawstyle() == "steps-post"
    assert list(zip(*curve.get_data(), strict=True)) == [(0, 0), (1, 0.25), (2, 0.5), (4, 0.75), (4, 1)]


def test_a_latency_curve_is_of_the_answered_and_its_legend_counts_the_others() -> None:
    others = [record(0, 9, outcome) for outcome in (Outcome.REFUSED, Outcome.REFUSED, Outcome.FAILED, Outcome.GAVE_UP)]
    axes = drawn("latency.png", run(record(0, 2), *others))
    assert axes.get_ylabel() == "share of answered requests"
    assert max(axes.lines[0].get_xdata()) == 2
    assert labels(axes) == ["closed, 1 at once (2 refused, 1 gave up, 1 failed)"]


@pytest.mark.parametrize(("load", "since"), [(Closed(1), "sent"), (Open((0.0,), "1/s"), "due")])
def test_the_axis_says_from_when_latencies_count(load: Load, since: str) -> None:
    axes = drawn("latency.png", run(load=load))
    assert axes.get_xlabel() == f"latency in s, from when a request was {since} to its last byte"


def test_a_run_in_which_nothing_was_answered_is_in_the_legend_and_has_no_throughput() -> None:
    refused = run(record(0, 1, Outcome.REFUSED))
    assert labels(drawn("latency.png", refused)) == ["closed, 1 at once (1 refused)"]
    [stairs] = drawn("throughput.png", refused).patches
    assert not stairs.get_data().values.any()


def test_throughput_is_of_whole_bins_up_to_the_end_of_the_run() -> None:
    axes = drawn("throughput.png", run(*[record(0, 0.24)] * 8, *[record(0, 0.26)] * 8))
    [stairs] = axes.patches
    assert isinstance(stairs, StepPatch)
    assert np.allclose(stairs.get_data().edges, [0, 0.26])
    assert np.allclose(stairs.get_data().values, [16 / 0.26])


def test_throughput_in_the_bins_of_a_long_run_adds_up_to_its_images() -> None:
    [stairs] = drawn("throughput.png", run(*(record(0, number) for number in range(1, 101)))).patches
    values, edges, _ = stairs.get_data()
    assert (len(values), edges[-1]) == (plots.BINS, 100)
    assert math.isclose((values * np.diff(edges)).sum(), 100)


def test_rows_are_shown_though_the_first_run_knows_none() -> None:
    axes = drawn("rows.png", run(), run(steps=ROWS), run(target="other"))
    [bars] = axes.containers
    assert isinstance(bars, BarContainer)
    assert [bar.get_height() for bar in bars] == [0.25, 0.0, 0.75]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3 to 4"]


def test_rows_above_the_last_bound_are_told_as_that() -> None:
    axes = drawn("rows.png", run(steps=ROWS | {"inf": 4.0}))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "3 to 4", "> 4"]


def test_rows_are_drawn_only_where_a_server_tells() -> None:
    assert (
        set(plots.figures([run()])) == set(plots.figures([run(steps={"1": 0.0})])) == {"latency.png", "throughput.png"}
    )


def test_twelve_curves_are_told_apart() -> None:
    sweep = [run(load=Closed(number), steps=ROWS) for number in range(1, 13)]
    curves = {(line.get_color(), line.get_linestyle()) for line in drawn("latency.png", *sweep).lines}
    steps = {(patch.get_edgecolor(), patch.get_linestyle()) for patch in drawn("throughput.png", *sweep).patches}
    bars = {(box[0].get_facecolor(), box[0].get_hatch()) for box in drawn("rows.png", *sweep).containers}
    assert len(curves) == len(steps) == len(bars) == len(labels(drawn("latency.png", *sweep))) == 12


def test_a_load_has_one_colour_on_both_servers_and_each_server_its_line() -> None:
    axes = drawn("latency.png", *(run(target=target, load=Closed(n)) for n in (1, 2) for target in "ab"))
    assert labels(axes) == [f"{target}: closed, {n} at once" for n in (1, 2) for target in "ab"]
    assert [(line.get_color(), line.get_linestyle()) for line in axes.lines] == [
        ("C0", "-"),
        ("C0", "--"),
        ("C1", "-"),
        ("C1", "--"),
    ]


def test_only_of_several_rounds_is_the_last_one_named() -> None:
    assert drawn("throughput.png", run()).get_title() == "Throughput over time"
    assert drawn("throughput.png", run(), run()).get_title() == "Throughput over time (last round)"


def test_the_pictures_are_written_as_png(tmp_path: Path) -> None:
    paths = plots.write(tmp_path / "new", [run(steps=ROWS)])
    assert [path.name for path in paths] == ["latency.png", "throughput.png", "rows.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (1080, 600))
