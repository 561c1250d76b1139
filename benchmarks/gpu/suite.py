"""Runs cells in order for as long as there is time. What is known is handed on after each, so a cut costs one cell."""

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.gpu.attention import fastest
from benchmarks.gpu.bench import Bench, Figures
from benchmarks.gpu.cells import Cell
from benchmarks.gpu.forms import Unavailable
from fluxpool_inference.worker import device

_LONGEST_REASON = 300


class Status(StrEnum):
    """What became of a cell."""

    MEASURED = "measured"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    NO_TIME = "no time left"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one cell. `figures` are there if it was measured, else a `reason`."""

    name: str
    status: Status
    seconds: float = 0.0
    reason: str | None = None
    figures: Figures = field(default_factory=dict)


class DeviceLostError(Exception):
    """No cell can be measured in this process any more."""


Record = Callable[[Sequence[Outcome]], object]


class Suite:
    """One run.

    Args:
        bench: To measure on.
        record: Called with all outcomes after each cell, and at the end.
        clock: Seconds since the run began, all that came before the first cell included.
    """

    def __init__(self, bench: Bench, record: Record, clock: Callable[[], float]) -> None:
        self._bench = bench
        self._record = record
        self._clock = clock

    def run(
        self, cells: Sequence[Cell], budget_seconds: float, before: Mapping[str, Outcome] | None = None
    ) -> list[Outcome]:
        """Measure what was not measured before; no cell begins when the budget is used up. Raises DeviceLostError."""
        known = {cell.name: before[cell.name] for cell in cells if cell.name in before} if before else {}
        for cell in cells:
            if cell.name in known:
                continue
            if self._clock() >= budget_seconds:
                break
            self._bench.attention = fastest(one.figures for one in known.values())
            known[cell.name] = outcome = self._attempt(cell)
            self._record(list(known.values()))
            print(f"[{self._clock():5.0f} s] {told(outcome)}", flush=True)
            if outcome.status is not Status.MEASURED:
                self._start_afresh(outcome)
        missing = [Outcome(cell.name, Status.NO_TIME) for cell in cells if cell.name not in known]
        outcomes = [*known.values(), *missing]
        self._record(outcomes)
        return outcomes

    def _attempt(self, cell: Cell) -> Outcome:
        began = self._clock()
        try:
            figures = {"kind": cell.KIND} | cell.measure(self._bench)
            json.dumps(figures, allow_nan=False)  # a figure that is no number would end the run where it is recorded
        except Unavailable as error:
            status, reason = Status.UNAVAILABLE, str(error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises fails this cell alone
            traceback.print_exc()
            status, reason = Status.FAILED, " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
        else:
            return Outcome(cell.name, Status.MEASURED, self._clock() - began, figures=figures)
        return Outcome(cell.name, status, self._clock() - began, reason)

    def _start_afresh(self, outcome: Outcome) -> None:
        """After an error nothing of the model in hand is sure. Raises DeviceLostError."""
        if not device.recover(self._bench.hardware.device):
            raise DeviceLostError(outcome.reason)
        self._bench.drop()


def told(outcome: Outcome) -> str:
    """One line for the terminal."""
    if outcome.status is not Status.MEASURED:
        return f"{outcome.name}: {outcome.status}" + (f" ({outcome.reason})" if outcome.reason else "")
    shown: dict[str, Callable[[float], str]] = {
        "median_seconds": lambda seconds: f"{1000 * seconds:.1f} ms",
        "tflop_per_second": lambda rate: f"{rate:.0f} TFLOP/s",
        "throughput_ratio": lambda ratio: f"{ratio:.2f} times the stock pipeline's throughput",
        "error_to_fp32": lambda error: f"relative error {error:.2g}",
    }
    figures = outcome.figures
    parts = [show(figures[key]) for key, show in shown.items() if figures.get(key) is not None]
    return f"{outcome.name}: {', '.join(parts)}"
