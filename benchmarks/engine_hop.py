"""What it costs that the device belongs to another process: from admission to the worker, and from it to the pixels.

inference/.venv/bin/python benchmarks/engine_hop.py [--images 200] [--record]

An engine with a real worker and a tiny random model makes one image after another, alone. Of each, the time before the
worker began with it is the way there; what is left of its total beside encoding, steps and decoding, all measured in
the worker, is the way back with its pixels, and the loop between the steps. Images of one step and of many tell the two
apart.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from record import Aim, Part, record, reported

from fluxpool_inference.engine import Engine, EngineConfig, ImageRequest, Timings
from fluxpool_inference.metrics import Metrics
from fluxpool_inference.tiny_model import write_tiny_model

SIDES = (64, 256, 512, 1024)
MANY_STEPS = 101
UNCOUNTED = 3


@dataclass(frozen=True)
class Hop:
    """One image, in seconds: the way there, and what is left beside the work itself."""

    there: float
    rest: float

    @classmethod
    def of(cls, timings: Timings) -> "Hop":
        """From what the engine tells of an image that nothing else waited for."""
        work = timings.encode_seconds + timings.denoise_seconds + timings.decode_seconds
        return cls(timings.wait_seconds, timings.total_seconds - timings.wait_seconds - work)


async def hops(engine: Engine, side: int, steps: int, images: int) -> list[Hop]:
    """Those of images that are made alone, one after the other; the first few do not count."""
    measured: list[Hop] = []
    for seed in range(images + UNCOUNTED):
        request = ImageRequest("a tree", side, side, steps, guidance=None, seed=seed)
        with await engine.generate(request) as image:
            measured.append(Hop.of(image.timings))
    return measured[UNCOUNTED:]


def per_step_seconds(one: Sequence[Hop], many: Sequence[Hop], steps: int) -> float:
    """What each further step adds to the rest, by medians: the loop, and the words about the step."""
    return (statistics.median(hop.rest for hop in many) - statistics.median(hop.rest for hop in one)) / (steps - 1)


def milliseconds(seconds: Sequence[float], percent: int) -> float:
    """A percentile, rounded."""
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


def aims(one: dict[int, list[Hop]], many: list[Hop]) -> list[Aim]:
    """The figures. `one` are images of one step by their side, `many` are those of many steps of the least side."""
    least = one[min(one)]
    there = [hop.there for hop in least]
    figures = [
        reported("ms from admission to the worker's first work, median", milliseconds(there, 50)),
        reported("ms from admission to the worker's first work, 95th percentile", milliseconds(there, 95)),
    ]
    for side, measured in one.items():
        back = milliseconds([hop.rest for hop in measured], 50)
        figures.append(
            reported(f"ms from the last work to the pixels in the HTTP process, {side}x{side}, median", back)
        )
    step = round(1000 * per_step_seconds(least, many, MANY_STEPS), 4)
    return [*figures, reported("ms that each step adds beside its own time", step)]


async def measure(engine: Engine, images: int, sides: Sequence[int]) -> list[Aim]:
    """On an engine that was not started yet."""
    await engine.start()
    try:
        one = {side: await hops(engine, side, 1, images) for side in sides}
        many = await hops(engine, min(sides), MANY_STEPS, max(1, images // 10))
        return aims(one, many)
    finally:
        await engine.stop()


def main() -> None:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="of each size")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/hop.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_tiny_model(Path(folder))
        config = EngineConfig(
            folder,
            dtype="float32",
            device="cpu",
            threads=1,
            default_width=min(SIDES),
            default_height=min(SIDES),
            max_pixels=max(SIDES) ** 2,
            max_sequence_length=64,
            drain_seconds=3600.0,
            log_level="warning",
        )
        engine = Engine(config, Metrics(namespace="", pool="", pod_uid="", batch_size_max=64))
        found = asyncio.run(measure(engine, options.images, SIDES))
    for aim in found:
        print(f"{aim.name}: {aim.value}")
    if options.record:
        command = f"inference/.venv/bin/python benchmarks/engine_hop.py --images {options.images}"
        versions = {name: version(name) for name in ("torch", "diffusers", "fluxpool-inference")}
        print(record("hop", Part("process hop", command, versions, found)))


if __name__ == "__main__":
    main()
