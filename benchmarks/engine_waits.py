"""How right the waits are that admission estimates, under more load than the device can do.

inference/.venv/bin/python benchmarks/engine_waits.py [--times 10] [--seconds 60] [--record]

An engine with a real worker and a tiny random model is offered images at random moments (Poisson), `times` as many as
it can make. Of every admitted image the estimate at its admission and its true wait are kept. The model's steps are
paced, so that the device has the speed of a (slow) GPU and this process time to ask; `--pace ""` lets it run freely.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from record import Aim, Part, at_most, record, reported

from fluxpool_inference.engine import Engine, EngineConfig, ImageRequest, Pace, Rejected, Ticket
from fluxpool_inference.metrics import Metrics

BATCH_SIZE = 8
MAX_QUEUE_SECONDS = 10.0


@dataclass(frozen=True)
class Workload:
    """What is asked for: each image has one of these numbers of steps and one of these widths, 64 pixels high."""

    name: str
    steps: tuple[int, ...]
    widths: tuple[int, ...] = (64,)


WORKLOADS = (
    Workload("alike", (8,)),
    Workload("mixed steps", (4, 8, 16, 28)),
    Workload("mixed steps and sizes", (4, 28), (64, 96)),
)


@dataclass(frozen=True)
class Wait:
    """One admitted image: its estimate and its true wait, in seconds."""

    estimate: float
    true: float
    steps: int


@dataclass(frozen=True)
class Outcome:
    """A workload's waits. `step_seconds` is the shortest step: no wait is felt or foretold more finely than that."""

    workload: Workload
    waits: tuple[Wait, ...]
    refused: int
    step_seconds: float

    def relative_errors(self) -> list[float]:
        """|estimate - true| / true of every admitted image, with waits below a step counted as one step."""
        return [abs(wait.estimate - wait.true) / max(wait.true, self.step_seconds) for wait in self.waits]

    def aims(self) -> list[Aim]:
        """The figures that count; nothing measured is not met."""
        error = round(statistics.median(self.relative_errors()), 3) if self.waits else None
        longest = round(max((wait.true for wait in self.waits), default=0.0) - MAX_QUEUE_SECONDS, 2)
        name = self.workload.name
        return [
            at_most(f"median relative error of the wait estimate, {name}", 0.2, error),
            reported(f"seconds of the longest wait beyond maxQueueSeconds, {name}", longest),
            reported(f"images admitted, {name}", len(self.waits)),
            reported(f"requests refused, {name}", self.refused),
        ]

    def figures(self) -> dict[str, object]:
        """What the figures were computed from, and the errors of each number of steps."""
        by_steps = {
            steps: round(statistics.median(wait.estimate - wait.true for wait in self.waits if wait.steps == steps), 3)
            for steps in sorted({wait.steps for wait in self.waits})
        }
        return {
            "median_estimate_minus_true_seconds_by_steps": by_steps,
            "estimate, true wait, steps": [f"{wait.estimate:.3f} {wait.true:.3f} {wait.steps}" for wait in self.waits],
        }


def images_per_second(fixed_seconds: float, per_row_seconds: float, mean_steps: float, rows: int) -> float:
    """What a device makes that always runs so many rows."""
    return rows / (mean_steps * (fixed_seconds + per_row_seconds * rows))


async def offer(engine: Engine, workload: Workload, rate: float, seconds: float, seed: int) -> Outcome:
    """Offer so many images per second for so long; wait for all that got in."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    began = loop.time()
    due, refused = 0.0, 0
    making: list[asyncio.Task[Wait]] = []
    while (due := due + chance.expovariate(rate)) < seconds:
        await asyncio.sleep(began + due - loop.time())
        width, steps = chance.choice(workload.widths), chance.choice(workload.steps)
        request = ImageRequest(f"a tree, {due}", width, 64, steps, guidance=None, seed=len(making))
        try:
            (ticket,) = await engine.admit([request])
        except Rejected:
            refused += 1
        else:
            making.append(asyncio.create_task(_wait(ticket)))
    waits = await asyncio.gather(*making)
    status = engine.status()
    return Outcome(workload, tuple(waits), refused, status.step_fixed_seconds + status.step_per_row_seconds)


async def _wait(ticket: Ticket) -> Wait:
    with await ticket.result() as image:
        return Wait(ticket.wait_estimate_seconds, image.timings.wait_seconds, ticket.request.steps)


async def measure(engine: Engine, times: float, seconds: float, workloads: Sequence[Workload]) -> list[Outcome]:
    """Every workload, one after the other, on an engine that was not started yet."""
    await engine.start()
    try:
        outcomes: list[Outcome] = []
        for workload in workloads:
            status = engine.status()
            capacity = images_per_second(
                status.step_fixed_seconds, status.step_per_row_seconds, statistics.mean(workload.steps), BATCH_SIZE
            )
            outcomes.append(await offer(engine, workload, times * capacity, seconds, seed=1))
        return outcomes
    finally:
        await engine.stop()


def config(model: Path, pace: Pace | None) -> EngineConfig:
    """One worker on the CPU, whose sizes are those of the workloads."""
    return EngineConfig(
        str(model),
        dtype="float32",
        device="cpu",
        threads=1,
        default_width=64,
        default_height=64,
        max_pixels=96 * 64,
        max_sequence_length=64,
        batch_size=BATCH_SIZE,
        max_queue_seconds=MAX_QUEUE_SECONDS,
        drain_seconds=300.0,
        pace=pace,
        log_level="warning",
    )


def part(outcomes: Sequence[Outcome], command: str, pace: Pace | None) -> Part:
    """For `record`."""
    aims = [aim for outcome in outcomes for aim in outcome.aims()]
    figures = {outcome.workload.name: outcome.figures() for outcome in outcomes}
    versions = {name: version(name) for name in ("torch", "diffusers", "fluxpool-inference")}
    shown = asdict(pace) if pace else None
    return Part("wait estimates", command, versions, aims, {"paced": pace is not None, "pace": shown, **figures})


def main() -> None:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=10.0, help="offered load, in what the device can do")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each workload")
    parser.add_argument("--pace", default="0.02,0.01", metavar="A,C", help="seconds of a step: A + C x rows")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/waits.json")
    options = parser.parse_args()
    pace = Pace(*(float(number) for number in options.pace.split(","))) if options.pace else None
    from fluxpool_inference.tiny_model import write_tiny_model  # noqa: PLC0415 - torch, for seconds

    with tempfile.TemporaryDirectory() as folder:
        write_tiny_model(Path(folder))
        engine = Engine(config(Path(folder), pace), Metrics(namespace="", pool="", pod_uid="", batch_size_max=64))
        outcomes = asyncio.run(measure(engine, options.times, options.seconds, WORKLOADS))
    command = f"inference/.venv/bin/python benchmarks/engine_waits.py --times {options.times:g} --pace '{options.pace}'"
    result = part(outcomes, command, pace)
    for aim in result.aims:
        print(f"{aim.name}: {aim.value} ({aim.aim})")
    if options.record:
        print(record("waits", result))


if __name__ == "__main__":
    main()
