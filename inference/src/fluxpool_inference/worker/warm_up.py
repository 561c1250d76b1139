"""Runs every stage once, so that nothing is done for the first time under a client's eyes, and measures what it costs.

Steps of 1, 2, 4 and 8 rows of the default size are timed at full speed, all those of an image together, since one of
them computes ahead for the others; a pace is a floor under the fitted curve, so nothing needs to be held here. Where an
earlier server on such a device has measured the same, one timed run of each is enough to confirm it.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.scheduling.costs import WARM_ROWS, Calibration, StepCurve
from fluxpool_inference.scheduling.memory import Memory
from fluxpool_inference.values import GraphTiming
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.text import prompts_together
from fluxpool_inference.worker.trial import STEPS, Trial

_RUNS = 5
_RUNS_OF_STEPS = 3
"""Of all the steps of an image, which are several."""
_ENOUGH_SECONDS = 1.0
_CONFIRMED = 0.25
"""What differs by no more than this share from what was measured before confirms it: single runs scatter."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What was found out.

    Attributes:
        calibration: What stages cost.
        rows_held: How many rows of the calibration's bucket memory held; None if it held all that were tried.
        prompts_together: See `text.prompts_together`.
        memory: What fits; None where memory is not measured.
        graphs: What was found of CUDA graphs; empty without.
    """

    calibration: Calibration
    rows_held: int | None
    prompts_together: tuple[int, ...] = (1,)
    memory: Memory | None = None
    graphs: tuple[GraphTiming, ...] = ()

    def most_rows(self, batch_size_max: int) -> int:
        """That a step may have, as far as memory is known to hold them."""
        return batch_size_max if self.rows_held is None else min(self.rows_held, batch_size_max)


def warm_up(model: Denoiser, config: EngineConfig, clock: Clock, before: Calibration | None = None) -> WarmUp:
    """Measure the default size. Raises what the model raises on one row; out of memory on more is no error.

    Args:
        model: To run.
        config: Says the default size, and the most rows.
        clock: To time by.
        before: What an earlier server measured. What it says is kept, stage by stage, if one timed run confirms it: so
            the unit of work stays the same over restarts. Its steps may be those of CUDA graphs, where there are any:
            they are confirmed once there are graphs again, by `graph_choice.with_graphs`.
    """
    trial = Trial(model, config)  # which has encoded once
    if before and (before.reference, before.shape) != (trial.bucket, model.shape):
        before = None
    eager = before.step if before and config.cuda_graphs == "off" else None
    encode_seconds = _seconds(partial(trial.encoding, 1), clock, before.encode_seconds if before else None)
    samples: list[tuple[int, float]] = []
    rows_held = None
    for rows in WARM_ROWS:
        if rows > config.batch_size_max:
            break
        try:
            trial.step(rows)()
            expected = eager.seconds(rows) * STEPS if eager else None
            samples.append((rows, _seconds(partial(trial.steps, rows), clock, expected, _RUNS_OF_STEPS) / STEPS))
        except Exception as error:
            if rows == 1 or not model.is_out_of_memory(error):
                raise
            model.recover()
            rows_held = samples[-1][0]
            break
    trial.decoding()()
    return WarmUp(
        Calibration(
            shape=model.shape,
            reference=trial.bucket,
            step=StepCurve.fit(samples),
            encode_seconds=encode_seconds,
            decode_seconds=_seconds(trial.decoding, clock, before.decode_seconds if before else None),
            pace=config.pace,
        ),
        rows_held,
        prompts_together(model, trial.bucket.text_tokens, config.batch_size_max),
    )


def first_steps(model: Denoiser, config: EngineConfig) -> None:
    """Run steps of one row, of images of one step and of several, and of two rows. Raises what the model raises.

    Compilers tell one row from more, both of a step and of the modulations that are computed ahead.
    """
    trial = Trial(model, config)
    trial.step(1, of_steps=1)()
    for rows in range(1, min(2, config.batch_size_max) + 1):
        trial.step(rows)()


def confirms(seconds: float, before: float) -> bool:
    """Whether what takes so long took as long `before`, as far as can be told."""
    return abs(seconds / before - 1) <= _CONFIRMED


def _seconds(ready: Callable[[], Callable[[], object]], clock: Clock, before: float | None, runs: int = _RUNS) -> float:
    """The median seconds of a few `runs`; of fewer where each takes long. None is the first of its kind.

    Each is made ready before it is timed. If the first confirms what was measured `before`, it is that.
    """

    def run() -> float:
        work = ready()
        began = clock.now()
        work()
        return clock.now() - began

    seconds = [run()]
    if before is not None and confirms(seconds[0], before):
        return before
    while len(seconds) < runs and sum(seconds) < _ENOUGH_SECONDS:
        seconds.append(run())
    return statistics.median(seconds)
