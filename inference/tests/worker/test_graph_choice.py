"""Which graphs are kept, on a fake model in virtual time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from bench import VirtualTime

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, StepCurve, TransformerShape
from fluxpool_inference.worker.graph_choice import GraphChoice, GraphLossError, with_graphs
from fluxpool_inference.worker.trial import STEPS
from fluxpool_inference.worker.warm_up import WarmUp

Seconds = Callable[[int], float]


class Device:
    """Steps of which the seconds are set: eager by their rows, replayed by those of the graph. No torch."""

    def __init__(self, eager: Seconds, replayed: Seconds) -> None:
        self.time = VirtualTime()
        self.eager_seconds = eager
        self.replayed_seconds = replayed
        self.graphs: dict[int, int] = {}
        self.captures: list[int] = []
        self.fails: dict[int, Exception] = {}
        self.eager_rows_held = 8
        self.recoveries = 0
        self.lost = False
        self.first_step_more = 0.0
        self._mode = "choose"

    # ---- as `Graphs`

    @contextmanager
    def capturing(self) -> Iterator[None]:
        with self._in("capture"):
            yield

    @contextmanager
    def eagerly(self) -> Iterator[None]:
        with self._in("eager"):
            yield

    def keep(self, captured_rows: int, least_rows: int) -> None:
        self.graphs[captured_rows] = least_rows

    def drop(self, captured_rows: int) -> None:
        self.graphs.pop(captured_rows, None)

    @contextmanager
    def _in(self, mode: str) -> Iterator[None]:
        self._mode = mode
        try:
            yield
        finally:
            self._mode = "choose"

    # ---- as a model

    def step(self, rows: int) -> Callable[[], None]:
        self.time.seconds += 1000  # preparing a step is no part of its time
        return lambda: self._step(rows)

    def steps(self, rows: int) -> Callable[[], None]:
        step = self.step(rows)

        def run() -> None:
            self.time.seconds += self.first_step_more
            for _ in range(STEPS):
                step()

        return run

    def recover(self) -> bool:
        self.recoveries += 1
        return not self.lost

    def _step(self, rows: int) -> None:
        if self._mode == "capture":
            self.captures.append(rows)
            if rows in self.fails:
                raise self.fails[rows]
            self.graphs[rows] = 1
        if self._mode == "eager" and rows > self.eager_rows_held:
            raise MemoryError("CUDA out of memory")
        captured = min((number for number in self.graphs if number >= rows), default=None)
        replays = self._mode != "eager" and captured is not None and self.graphs[captured] <= rows
        self.time.seconds += self.replayed_seconds(captured or 0) if replays else self.eager_seconds(rows)

    def choice(self) -> GraphChoice:
        return GraphChoice(self, self, self.recover, self.time.clock())


def launches(rows: int) -> float:
    """Launching bounds the step: it takes as long for eight rows as for one."""
    return 1.0 + 0.001 * rows


def test_where_launching_is_the_bound_all_rows_are_replayed() -> None:
    device = Device(launches, lambda captured: 0.5 + 0.001 * captured)
    found = device.choice().settle(8)
    assert [timing.rows for timing in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [timing.captured_rows for timing in found] == [1, 2, 4, 4, 8, 8, 8, 8]
    assert all(timing.kept for timing in found)
    assert device.graphs == {8: 5, 4: 3, 2: 2, 1: 1}
    assert device.captures == [8, 4, 2, 1], "the largest first: the others fit into its memory"
    assert found[4].eager_seconds == pytest.approx(1.005)
    assert found[4].replay_seconds == pytest.approx(0.508)


def test_where_computing_is_the_bound_padding_costs_more_than_it_gains() -> None:
    device = Device(lambda rows: rows + 0.1, lambda captured: captured)
    found = device.choice().settle(8)
    kept = {timing.rows for timing in found if timing.kept}
    assert kept == {1, 2}
    assert device.graphs == {2: 2, 1: 1}


def test_a_graph_serves_down_to_the_first_number_that_does_not_gain() -> None:
    device = Device(lambda rows: 1.0 + 0.1 * rows, lambda captured: 0.6 + 0.1 * captured)
    found = {timing.rows: timing.kept for timing in device.choice().settle(8)}
    # 8 rows replayed take 1.4: as long as 4 eager ones
    assert found == {1: True, 2: True, 3: True, 4: True, 5: True, 6: True, 7: True, 8: True}
    device = Device(lambda rows: 1.0 + 0.1 * rows, lambda captured: 0.8 + 0.1 * captured)
    found = {timing.rows: timing.kept for timing in device.choice().settle(8)}
    assert found == {1: True, 2: True, 3: True, 4: True, 6: False, 7: True, 8: True}, "5 need not be tried"
    assert device.graphs == {8: 7, 4: 3, 2: 2, 1: 1}


@pytest.mark.parametrize(("share", "kept"), [(0.96, True), (0.98, False), (1.1, False)])
def test_a_gain_below_three_percent_is_not_worth_a_graph(share: float, kept: bool) -> None:
    device = Device(lambda rows: 1.0, lambda captured: share)
    (only,) = device.choice().settle(1)
    assert (only.kept, only.eager_seconds, only.replay_seconds) == (kept, 1.0, pytest.approx(share))
    assert device.graphs == ({1: 1} if kept else {})


@pytest.mark.parametrize(("slow_runs", "kept"), [(2, True), (3, False)])
def test_few_slow_runs_are_no_verdict(slow_runs: int, kept: bool) -> None:
    capture_and_first = 2
    slow = iter([0.1] * (capture_and_first + slow_runs * STEPS))
    device = Device(lambda rows: 0.01, lambda captured: next(slow, 0.005))
    (only,) = device.choice().settle(1)
    assert only.kept is kept, "by the median of five"


def test_steps_bear_their_share_of_what_an_image_s_first_step_does_for_the_others() -> None:
    device = Device(lambda rows: 1.0, lambda captured: 0.5)
    device.first_step_more = 2.0
    (only,) = device.choice().settle(1)
    assert (only.eager_seconds, only.replay_seconds) == (1.5, 1.0)


def test_no_more_rows_are_captured_than_steps_have() -> None:
    device = Device(launches, lambda captured: 0.5)
    assert [timing.rows for timing in device.choice().settle(3)] == [1, 2, 3]
    assert device.captures == [4, 2, 1], "three rows are padded to four"


def test_what_cannot_be_captured_is_told_and_the_others_are_there() -> None:
    device = Device(launches, lambda captured: 0.5)
    device.fails = {8: MemoryError(), 2: RuntimeError("operation not permitted when stream is capturing\nadvice")}
    found = device.choice().settle(8)
    problems = {timing.rows: timing.problem for timing in found if timing.problem}
    assert problems == {8: "MemoryError", 2: "operation not permitted when stream is capturing"}
    assert device.graphs == {4: 3, 1: 1}
    assert device.recoveries == 2


def test_a_graph_beside_which_a_step_without_has_no_memory_is_given_up() -> None:
    device = Device(launches, lambda captured: 0.5)
    device.eager_rows_held = 5
    found = device.choice().settle(8)
    assert [(timing.rows, timing.problem) for timing in found if timing.problem] == [(8, "CUDA out of memory")]
    assert device.graphs == {4: 3, 2: 2, 1: 1}
    assert device.recoveries == 1


def test_a_capture_that_costs_the_device_is_an_error() -> None:
    device = Device(launches, lambda captured: 0.5)
    device.fails = {8: RuntimeError("an illegal memory access was encountered")}
    device.lost = True
    with pytest.raises(GraphLossError, match="illegal"):
        device.choice().settle(8)


# ---- what it means for the costs


def warm(fixed: float, per_row: float, rows_held: int | None = None) -> WarmUp:
    shape, bucket = TransformerShape(64, 2), Bucket(4, 4, 32)
    return WarmUp(Calibration(shape, bucket, StepCurve(fixed, per_row), 0.1, 0.1), rows_held)


def test_steps_cost_what_they_take_with_the_graphs_that_are_kept() -> None:
    device = Device(launches, lambda captured: 0.5 + 0.001 * captured)
    found = with_graphs(warm(1.0, 0.001), device.choice(), batch_size_max=8)
    assert found.calibration.step.fixed_seconds == pytest.approx(0.5, rel=0.01)
    assert [timing.rows for timing in found.graphs] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_steps_whose_graphs_are_not_kept_cost_what_they_did() -> None:
    device = Device(launches, lambda captured: 2.0)
    found = with_graphs(warm(1.0, 0.001), device.choice(), batch_size_max=8)
    assert found.calibration.step.fixed_seconds == pytest.approx(1.0)
    assert found.calibration.step.per_row_seconds == pytest.approx(0.001)
    assert not any(timing.kept for timing in found.graphs)


def mixed(slower: float) -> Device:
    """One and two rows are replayed, in far less time than a straight line with four and eight has for them."""
    return Device(lambda rows: slower * (2.0 + 0.001 * rows), lambda captured: slower * 0.3 if captured <= 2 else 3.0)


@pytest.mark.parametrize(("slower", "kept"), [(1.2, True), (0.85, True), (1.3, False), (0.7, False)])
def test_steps_that_were_measured_before_with_graphs_are_kept_if_they_are_confirmed(slower: float, kept: bool) -> None:
    before = with_graphs(warm(2.0, 0.001), mixed(1.0).choice(), batch_size_max=8).calibration
    eager = warm(2.0 * slower, 0.001 * slower)
    anew = with_graphs(eager, mixed(slower).choice(), batch_size_max=8).calibration
    found = with_graphs(eager, mixed(slower).choice(), batch_size_max=8, before=before).calibration
    assert anew.step != before.step
    assert found == (before if kept else anew)


@pytest.mark.parametrize("change", [{"reference": Bucket(4, 6, 32)}, {"shape": TransformerShape(128, 2)}])
def test_steps_that_were_measured_of_another_size_or_model_are_not_kept(change: dict[str, Any]) -> None:
    eager = warm(2.0, 0.001)
    anew = with_graphs(eager, mixed(1.0).choice(), batch_size_max=8).calibration
    before = replace(anew, step=StepCurve(1.1 * anew.step.fixed_seconds, 1.1 * anew.step.per_row_seconds), **change)
    assert with_graphs(eager, mixed(1.0).choice(), batch_size_max=8, before=before).calibration == anew


@pytest.mark.parametrize(
    ("curve", "rows_held", "batch_size_max", "captured"),
    [
        ((0.0, 1.0), None, 64, [1]),  # the knee is at one row
        ((1.0, 0.001), 4, 64, [4, 2, 1]),
        ((1.0, 0.001), None, 2, [2, 1]),
    ],
)
def test_the_knee_memory_and_the_largest_batch_size_bound_what_is_captured(
    curve: tuple[float, float], rows_held: int | None, batch_size_max: int, captured: list[int]
) -> None:
    device = Device(launches, lambda _: 0.5)
    with_graphs(warm(*curve, rows_held), device.choice(), batch_size_max)
    assert device.captures == captured
