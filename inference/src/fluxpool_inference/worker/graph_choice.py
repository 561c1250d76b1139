"""Which CUDA graphs are kept: those by which steps are at least 3 % faster than without, measured one beside the other.

Graphs are captured for 1, 2, 4 and 8 rows of the default size, as far as steps come to have so many. A graph takes all
rows above the next smaller number; where the device computes as long as it launches or longer, the rows that are
padded up to it may well be slower than alone. So each number of rows is measured, the largest first, and a graph serves
down to the first that does not gain: fewer rows in the same graph gain less.
"""

import logging
import statistics
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from typing import Final, Protocol

from fluxpool_inference.outcomes import first_line
from fluxpool_inference.scheduling.costs import KNEE_GAIN, WARM_ROWS, Calibration, StepCurve
from fluxpool_inference.values import GraphTiming
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.trial import STEPS
from fluxpool_inference.worker.warm_up import WarmUp, confirms

FASTER: Final = 0.97
"""At most this share of the time without is worth a graph."""

_PAIRS = 5
_ENOUGH_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Replayable(Protocol):
    """What is asked of `graphs.Graphs`; see there."""

    def capturing(self) -> AbstractContextManager[None]: ...  # noqa: D102
    def eagerly(self) -> AbstractContextManager[None]: ...  # noqa: D102
    def keep(self, captured_rows: int, least_rows: int) -> None: ...  # noqa: D102
    def drop(self, captured_rows: int) -> None: ...  # noqa: D102


class Steps(Protocol):
    """What is asked of `trial.Trial`; see there."""

    def step(self, rows: int) -> Callable[[], None]: ...  # noqa: D102
    def steps(self, rows: int) -> Callable[[], None]: ...  # noqa: D102


class GraphLossError(Exception):
    """The device does not work any more after an attempt that failed."""


class GraphChoice:
    """Captures graphs, measures them, keeps those that are worth it.

    Args:
        graphs: Of the model that steps.
        trial: To step.
        recover: Makes room on the device after an error; False if it is lost.
        clock: To time by.
    """

    def __init__(self, graphs: Replayable, trial: Steps, recover: Callable[[], bool], clock: Clock) -> None:
        self._graphs = graphs
        self._trial = trial
        self._recover = recover
        self._clock = clock

    def settle(self, most_rows: int) -> tuple[GraphTiming, ...]:
        """What was found of each number of rows up to `most_rows`, fewest first.

        What fails, be it for want of memory for steps with and without a graph at once, only means that there is no
        such graph. Raises GraphLossError if it cost the device.
        """
        found: list[GraphTiming] = []
        for captured, smaller in reversed([*zip(WARM_ROWS, (0, *WARM_ROWS), strict=False)]):
            if smaller < most_rows:
                found += self._settle(captured, range(min(captured, most_rows), smaller, -1))
        for timing in found:
            logger.info("cuda graph", extra={"fields": asdict(timing)})
        return tuple(sorted(found, key=lambda timing: timing.rows))

    def _settle(self, captured_rows: int, candidates: Iterable[int]) -> list[GraphTiming]:
        found: list[GraphTiming] = []
        problem = self._try(lambda: self._measure(captured_rows, candidates, found))
        if problem is not None:
            found = [GraphTiming(captured_rows, captured_rows, problem=problem)]
        if kept := [timing.rows for timing in found if timing.kept]:
            self._graphs.keep(captured_rows, min(kept))
        else:
            self._graphs.drop(captured_rows)
        return found

    def _measure(self, captured_rows: int, candidates: Iterable[int], found: list[GraphTiming]) -> None:
        """Add to `found`, down to the first number of rows that is not worth it."""
        with self._graphs.capturing():
            self._trial.step(captured_rows)()
        for rows in candidates:
            found.append(self._compare(rows, captured_rows))
            if not found[-1].kept:
                return

    def _try(self, work: Callable[[], None]) -> str | None:
        """Why something cannot be done; None if it was."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever a graph raises, steps run without
            problem = first_line(error)
        else:
            return None
        # Strictly after the handler: until then the error's traceback keeps the tensors of all its frames.
        if not self._recover():
            raise GraphLossError(problem)
        return problem

    def _compare(self, rows: int, captured_rows: int) -> GraphTiming:
        # The first of each may load a kernel.
        with self._graphs.eagerly():
            self._trial.step(rows)()
        self._trial.step(rows)()
        eager: list[float] = []
        replayed: list[float] = []
        while len(eager) < _PAIRS and STEPS * sum(eager + replayed) < _ENOUGH_SECONDS:
            with self._graphs.eagerly():
                eager.append(self._seconds(rows))
            replayed.append(self._seconds(rows))
        before, after = statistics.median(eager), statistics.median(replayed)
        return GraphTiming(rows, captured_rows, before, after, kept=after <= FASTER * before)

    def _seconds(self, rows: int) -> float:
        """Of one step, with its share of what is computed ahead, which no graph replays."""
        steps = self._trial.steps(rows)
        began = self._clock.now()
        steps()
        return (self._clock.now() - began) / STEPS


def with_graphs(
    warm: WarmUp,
    choice: GraphChoice,
    batch_size_max: int,
    knee_gain: float = KNEE_GAIN,
    before: Calibration | None = None,
) -> WarmUp:
    """What a warm-up found, with CUDA graphs: steps cost what they take with those that were kept.

    None is captured for more rows than steps have, which is the knee where that is the least bound.

    Args:
        warm: Found without graphs.
        choice: Of graphs.
        batch_size_max: The most rows that a step may ever have.
        knee_gain: See `StepCurve.knee`.
        before: What an earlier server measured, with its graphs. Its steps are kept if all that were found now confirm
            them: so the unit of work stays the same over restarts.
    """
    calibration, most = warm.calibration, warm.most_rows(batch_size_max)
    graphs = choice.settle(min(most, calibration.curve(calibration.reference).knee(knee_gain)))
    seconds = {rows: calibration.step.seconds(rows) for rows in WARM_ROWS if rows <= most}
    for timing in graphs:
        if timing.replay_seconds is not None and timing.kept and timing.rows in seconds:
            seconds[timing.rows] = timing.replay_seconds
    step = StepCurve.fit(seconds.items())
    if before and (before.reference, before.shape) == (calibration.reference, calibration.shape):
        # Curve beside curve: where some rows are replayed and others are not, no straight line is near all of them.
        confirmed = all(confirms(step.seconds(rows), before.step.seconds(rows)) for rows in seconds)
        step = before.step if confirmed else step
    return replace(warm, calibration=replace(calibration, step=step), graphs=graphs)
