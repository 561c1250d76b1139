"""What is seen while it runs: bars on a terminal, and elsewhere, such as in CI's log, a line per run."""

from io import StringIO

import pytest
from conftest import ImageServer
from rich.console import Console

from fluxpool_bench.__main__ import main
from fluxpool_bench.client import Outcome, Record
from fluxpool_bench.session import Closed, Run
from fluxpool_bench.table import LiveProgress

RECORDS = tuple(
    Record(number, "k", 0, 0, 2, outcome, int(outcome is Outcome.OK), 10)
    for number, outcome in enumerate((Outcome.OK, Outcome.OK, Outcome.FAILED))
)


def shown(*, terminal: bool) -> str:
    """Two runs of three requests."""
    out = StringIO()
    with LiveProgress(Console(file=out, force_terminal=terminal, width=120, color_system=None)) as progress:
        for number in (1, 2):
            progress.begin("http://t/v1", Closed(2), number, len(RECORDS))
            for record in RECORDS:
                progress.record(record)
            progress.end(Run("http://t/v1", Closed(2), number, RECORDS, {}))
    return out.getvalue()


def test_a_terminal_has_a_bar_per_run_that_says_how_many_are_done_and_how_many_not_ok() -> None:
    [*_, first, second] = [line for line in shown(terminal=True).splitlines() if "━" in line]
    for number, line in ((1, first), (2, second)):
        assert f"http://t/v1  closed, 2 at once  round {number} ━" in line
        assert "3/3" in line
        assert "1 not ok" in line


def test_elsewhere_there_is_a_line_per_run_and_no_bar() -> None:
    figures = "2 ok, 1.00 images/s, p95 2.000"
    assert shown(terminal=False).splitlines() == [
        f"http://t/v1  closed, 2 at once  round {number}: {figures}" for number in (1, 2)
    ]


def test_runs_of_the_command_are_told_as_they_end(server: ImageServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([server.url, "--requests", "2", "--concurrent", "1,2", "--warm-up", "0"]) == 0
    told = capsys.readouterr().out.splitlines()[:2]
    assert [line.split(": 2 ok, ")[0] for line in told] == [
        f"{server.url}  closed, {number} at once  round 1" for number in (1, 2)
    ]
