"""A run ends in time, outlives what fails, and hands on what it knows after every cell."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import torch

from benchmarks.gpu.forms import Unavailable
from benchmarks.gpu.suite import DeviceLostError, Outcome, Status, Suite, told
from fluxpool_inference.worker import device


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Fake:
    """A cell that takes `seconds` of the clock."""

    KIND: ClassVar[str] = "step"

    name: str
    clock: Clock
    seconds: float = 10.0
    does: Callable[[Any], None] = lambda bench: None

    def measure(self, bench: Any) -> dict[str, Any]:
        self.clock.now += 0.0 if math.isnan(self.seconds) else self.seconds
        self.does(bench)
        return {"launch": "eager", "attention": self.name, "median_seconds": self.seconds, "compares_attention": True}


class Bed:
    """A suite over a bench that only counts."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.dropped = 0
        self.records: list[list[tuple[str, Status]]] = []
        self.bench: Any = SimpleNamespace(
            attention={}, hardware=SimpleNamespace(device=torch.device("cpu")), drop=self._drop
        )
        self.suite = Suite(cast("Any", self.bench), self._record, self.clock)

    def _drop(self) -> None:
        self.dropped += 1

    def _record(self, outcomes: Any) -> None:
        self.records.append([(one.name, one.status) for one in outcomes])

    def cells(self, *names: str, **options: Any) -> list[Any]:
        return [Fake(name, self.clock, **options) for name in names]


def fail(error: Exception) -> Callable[[Any], None]:
    def raise_it(bench: Any) -> None:
        raise error

    return raise_it


def test_all_that_is_known_is_recorded_after_every_cell() -> None:
    bed = Bed()
    bed.suite.run(bed.cells("a", "b"), 100)
    done = Status.MEASURED
    assert bed.records == [[("a", done)], [("a", done), ("b", done)], [("a", done), ("b", done)]]


def test_no_cell_begins_after_the_budget_and_those_left_out_are_named() -> None:
    bed = Bed()
    outcomes = bed.suite.run(bed.cells("a", "b", "c"), 15)
    assert [(one.name, one.status) for one in outcomes] == [
        ("a", Status.MEASURED),
        ("b", Status.MEASURED),  # began at 10 s
        ("c", Status.NO_TIME),
    ]
    assert bed.records[-1][-1] == ("c", Status.NO_TIME)


def test_the_budget_has_in_it_what_came_before_the_first_cell() -> None:
    bed = Bed()
    bed.clock.now = 95.0
    outcomes = bed.suite.run(bed.cells("a", "b"), 100)
    assert [one.status for one in outcomes] == [Status.MEASURED, Status.NO_TIME]


def test_a_figure_that_is_not_finite_fails_its_cell_and_not_the_run() -> None:
    bed = Bed()
    nothing, good = bed.suite.run([*bed.cells("nothing", seconds=float("nan")), *bed.cells("good")], 100)
    assert (nothing.status, nothing.figures) == (Status.FAILED, {})
    assert nothing.reason is not None
    assert "not JSON compliant" in nothing.reason
    assert good.status is Status.MEASURED


def test_a_cell_that_fails_says_why_costs_the_model_in_hand_and_nothing_else() -> None:
    bed = Bed()
    cells = [*bed.cells("bad", does=fail(RuntimeError("out of\n  luck"))), *bed.cells("good")]
    bad, good = bed.suite.run(cells, 100)
    assert (bad.status, bad.reason) == (Status.FAILED, "RuntimeError: out of luck")
    assert good.status is Status.MEASURED
    assert bed.dropped == 1


def test_what_the_device_does_not_have_is_no_failure() -> None:
    bed = Bed()
    (outcome,) = bed.suite.run(bed.cells("fp8", does=fail(Unavailable("too old"))), 100)
    assert (outcome.status, outcome.reason) == (Status.UNAVAILABLE, "too old")


def test_a_lost_device_ends_the_run_after_the_loss_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    monkeypatch.setattr(device, "recover", lambda _: False)
    with pytest.raises(DeviceLostError, match="illegal"):
        bed.suite.run([*bed.cells("bad", does=fail(RuntimeError("illegal"))), *bed.cells("next")], 100)
    assert bed.records == [[("bad", Status.FAILED)]]


def test_what_was_measured_before_is_not_measured_again() -> None:
    bed = Bed()
    before = {"a": Outcome("a", Status.MEASURED, figures={"rows": 1})}
    outcomes = bed.suite.run(bed.cells("a", "b"), 100, before)
    assert [one.name for one in outcomes] == ["a", "b"]
    assert outcomes[0].figures == {"rows": 1}
    assert bed.clock.now == 10


def test_later_cells_have_the_fastest_attention_of_the_earlier_ones() -> None:
    bed = Bed()
    seen: list[dict[str, str]] = []
    slow, fast = bed.cells("slow", seconds=3), bed.cells("fast", seconds=2)
    bed.suite.run([*slow, *fast, *bed.cells("next", does=lambda bench: seen.append(dict(bench.attention)))], 100)
    assert seen == [{"eager": "fast"}]


def test_a_line_says_what_became_of_a_cell() -> None:
    assert told(Outcome("x", Status.FAILED, reason="why")) == "x: failed (why)"
    assert told(Outcome("x", Status.MEASURED, figures={"median_seconds": 0.1})) == "x: 100.0 ms"
