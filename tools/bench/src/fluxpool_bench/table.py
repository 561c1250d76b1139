"""What a person sees: progress while it runs, then one table."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from fluxpool_bench.client import Outcome, Record
from fluxpool_bench.session import Closed, Load, Progress, Run
from fluxpool_bench.summary import LEAST_PAIRS, summarize

LATE_SECONDS = 0.1
CLOSED = (
    "in a closed loop nobody asks while all clients wait, so a slow server is asked less, and latencies hide the queue "
    "that users who come on their own would meet (coordinated omission): --rate and --arrivals show it"
)


class LiveProgress(Progress):
    """One bar per run on a terminal; one line per finished run elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[bad]}"),
        )
        self._bars = Bars(*columns, console=console, disable=not console.is_terminal)
        self._task = TaskID(0)
        self._bad = 0

    def __enter__(self) -> "LiveProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, target: str, load: Load, round_number: int, requests: int) -> None:
        """Open a bar."""
        self._bad = 0
        self._task = self._bars.add_task(f"{target}  {load}  round {round_number}", total=requests, bad="")

    def record(self, record: Record) -> None:
        """Move it."""
        self._bad += record.outcome is not Outcome.OK
        self._bars.update(self._task, advance=1, bad=f"{self._bad} not ok" if self._bad else "")

    def end(self, run: Run) -> None:
        """Off a terminal there are no bars: say that the run is done."""
        if not self._console.is_terminal:
            summary = run.summary
            figures = f"{summary.ok} ok, {summary.throughput:.2f} images/s, p95 {seconds(summary.p95)}"
            text = f"{run.target}  {run.load}  round {run.round}: {figures}"
            self._console.print(text, highlight=False, soft_wrap=True)


def seconds(value: float | None) -> str:
    """A duration for a table."""
    return "-" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def results(runs: Sequence[Run]) -> Table:
    """One row per run."""
    table = Table(title=f"latency in seconds, from when a request was {runs[0].load.since} to its last byte")
    table.add_column("server")
    table.add_column("load")
    for name in ("round", "ok", "refused", "failed", "images/s", "mean", "p50", "p90", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for run in runs:
        s = run.summary
        figures = (seconds(value) for value in (s.mean, s.p50, s.p90, s.p95, s.p99, s.max))
        counts = (str(run.round), str(s.ok), str(s.refused), str(s.failed), f"{s.throughput:.2f}")
        table.add_row(run.target, str(run.load), *counts, *figures)
    return table


def kinds(runs: Sequence[Run]) -> Table:
    """One row for each kind of request, over all rounds of a load."""
    table = Table(title="the same by kind of request")
    for name in ("server", "load", "kind"):
        table.add_column(name)
    for name in ("ok", "not ok", "p50", "p95", "max"):
        table.add_column(name, justify="right")
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for run in runs:
        for record in run.records:
            groups.setdefault((run.target, str(run.load), record.kind), []).append(record)
    for names, records in groups.items():
        s = summarize(records)
        counts = (str(s.ok), str(len(records) - s.ok))
        table.add_row(*names, *counts, *(seconds(value) for value in (s.p50, s.p95, s.max)))
    return table


def comparison(rows: Sequence[dict[str, Any]]) -> Table:
    """First server over second."""
    table = Table(title=f"first server over second: median of the rounds\n95 % interval from {LEAST_PAIRS} rounds on")
    for name in ("load", "figure", "ratio", "interval", "verdict"):
        table.add_column(name)
    for row in rows:
        ratio, interval = row.get("ratio"), row.get("interval")
        table.add_row(
            row["load"],
            row["figure"],
            f"{ratio:.3f}" if ratio is not None else "-",
            f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-",
            row["verdict"],
        )
    return table


def warnings(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before believing the table."""
    notes = [CLOSED] if any(isinstance(run.load, Closed) for run in runs) else []
    for run in runs:
        summary = run.summary
        if summary.refused:
            notes.append(
                f"{run.target}, {run.load}: {summary.refused} refused; the latencies are those of the answered only"
            )
        if summary.gave_up:
            notes.append(f"{run.target}, {run.load}: {summary.gave_up} given up by the clients, as the workload says")
        if summary.send_delay_max > LATE_SECONDS:
            notes.append(
                f"{run.target}, {run.load}: requests left up to {summary.send_delay_max:.2f} s late "
                f"(p99 {summary.send_delay_p99:.2f} s), which is in their latencies: this machine was the limit then"
            )
        if failure := next((record.detail for record in run.records if record.outcome is Outcome.FAILED), None):
            notes.append(f"{run.target}, {run.load}: {summary.failed} failed, the first with: {failure}")
    return notes
