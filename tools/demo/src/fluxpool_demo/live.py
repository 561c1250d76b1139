"""What the person at the terminal sees: a live view, or plain lines where there is no terminal to draw on."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fluxpool_demo.figures import Figures, in_one_line, number, sparkline
from fluxpool_demo.record import Decision, Knob

REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
COLUMN_SECONDS = 3.0
"""Of the load's course, in one column of the view."""
COLUMNS = 50
"""So the whole run fits, in a terminal of 80."""
LATEST = 8
COLOURS = {Knob.REPLICAS: "blue", Knob.BATCH_SIZE: "magenta"}

Look = Callable[[], tuple[Figures, Sequence[Decision]]]
"""Reads the figures and the decisions of now; the times of decisions are seconds since the load began."""


class Terminal:
    """Says what goes on, and shows the load while it runs."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line of progress."""
        self.console.print(Text.assemble(("== ", "bold cyan"), text))

    def line(self, text: str) -> None:
        """One line of result."""
        self.console.print(Text(text))

    @asynccontextmanager
    async def showing(self, look: Look) -> AsyncIterator[None]:
        """Show figures and decisions while the block runs."""
        show = self._draw(look) if self.console.is_terminal else self._print(look)
        task = asyncio.create_task(show)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _draw(self, look: Look) -> None:
        history: deque[Figures] = deque(maxlen=COLUMNS)
        next_column = 0.0
        with Live(console=self.console, auto_refresh=False, transient=False) as screen:
            while True:
                now, decisions = look()
                if history and now.second < next_column:
                    history[-1] = now
                else:
                    history.append(now)
                    next_column = now.second + COLUMN_SECONDS
                screen.update(picture(history, decisions), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)

    async def _print(self, look: Look) -> None:
        told, next_line = 0, 0.0
        while True:
            now, decisions = look()
            # A decision is told one look later, so that the event with its reason has time to arrive.
            settled = [decision for decision in decisions if decision.at < now.second - 1]
            for decision in settled[told:]:
                self.line(f"{decision.at:5.0f} s  -> {in_words(decision)}")
            told = len(settled)
            if now.second >= next_line:
                self.line(in_one_line(now))
                next_line = now.second + LINE_SECONDS
            await asyncio.sleep(REFRESH_SECONDS)


def in_words(decision: Decision) -> str:
    """A decision and its reason in one line."""
    change = f"{decision.knob} {number(decision.before)} → {decision.after}"
    return f"{change}: {decision.reason}" if decision.reason else change


def picture(history: Sequence[Figures], decisions: Sequence[Decision]) -> RenderableType:
    """The live view: what is asked for, what the pool does, what the operator decided."""
    now = history[-1]
    return Panel(
        Group(_headline(now), Text(), _gauges(history), Rule(style="dim"), _decisions(decisions)),
        title="fluxpool demo",
        border_style="cyan",
    )


def _headline(now: Figures) -> Text:
    asked = f"{now.step.name}: {now.step.rate:g} images/s" if now.step else "no load: both come down"
    counts = f"\n        sent {now.sent}  answered {now.answered}  in flight {now.in_flight}  "
    ends = f"failed {now.failed}  429s {now.rejections}"
    return Text.assemble(
        (f"{max(0.0, now.second):4.0f} s  ", "dim"),
        (asked, "bold"),
        counts,
        (ends, "bold red" if now.failed else ""),
    )


def _gauges(history: Sequence[Figures]) -> Table:
    now = history[-1]
    sample = now.sample
    replicas = f"{sample.ready} of {number(sample.desired_replicas)}"
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", width=7)
    table.add_column(no_wrap=True)
    rows: tuple[tuple[str, str, str, Callable[[Figures], float | None]], ...] = (
        ("queue", number(now.queue), "yellow", lambda f: f.queue),
        ("batch size", number(sample.batch_size), "magenta", lambda f: f.sample.batch_size),
        ("replicas", replicas, "blue", lambda f: f.sample.ready),
        ("images/s", f"{now.images_per_second:.1f}", "green", lambda f: f.images_per_second),
        ("p95 latency", f"{number(now.p95_seconds, '.1f')} s", "cyan", lambda f: f.p95_seconds),
    )
    for name, value, colour, read in rows:
        line = sparkline([read(figures) for figures in history], COLUMNS)
        table.add_row(Text(name), Text(value, style=f"bold {colour}"), Text(line, style=colour))
    return table


def _decisions(decisions: Sequence[Decision]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim", width=7, no_wrap=True)
    table.add_column()
    for decision in list(decisions)[-LATEST:]:
        table.add_row(f"{decision.at:.0f} s", Text(in_words(decision), style=COLOURS[decision.knob]))
    return table if decisions else Text("the operator has changed nothing yet", style="dim")
