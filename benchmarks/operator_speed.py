"""How fast a pool comes up, and how fast it follows a step of the load. Recorded in `results/operator.json`.

Runs inside the lab's network, on the demo's pool (tiny model, paced):

    make cluster-up
    tools/cluster/run tests/.venv/bin/python benchmarks/operator_speed.py --scrape-seconds 2 --rounds 7
    tools/cluster/run tests/.venv/bin/python benchmarks/operator_speed.py --scrape-seconds 30 --rounds 5

Each round applies a new pool, waits until it is Ready, asks for images one by one until the pool is at rest, and then
lets the load step from what one pod carries to more than twice what it can; the steps of all rounds are spread evenly
over the scrape's period. A time ends when a watch of the pool shows the write. The load stops then, and every request
that was sent is answered. Pool and chart are taken away at the end.
"""

import argparse
import asyncio
import itertools
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from record import Aim, Part, at_most, record, reported

from fluxpool_demo import install, scenario
from fluxpool_demo.access import Access
from fluxpool_demo.errors import DemoError, WaitError
from fluxpool_demo.kube import Kube, Ref, condition, connect
from fluxpool_demo.load import ImageClient, ImageJob, OpenLoop, image_client
from fluxpool_demo.observe import Observer
from fluxpool_demo.platform import SCRAPE_SECONDS, Platform, prepare
from fluxpool_demo.record import Knob
from fluxpool_demo.schedule import Schedule, Step, constant_arrivals
from fluxpool_demo.story import applied, at_rest, versions
from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT

SCALE_WRITE_AIM_SECONDS = 5.0
CALM = Step("calm", 5, 1.0)
STEP_RATE = 5.0
"""Images per second; one pod makes 2.2 at most."""
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Round:
    """Times of one round in seconds: the first two from `kubectl apply`, the others from the load's step."""

    to_ready: float
    to_first_image: float
    to_batch_size_write: float | None
    to_replicas_write: float
    to_second_pod_ready: float
    images_ok: int
    images_failed: int
    rejected_429: int
    paced_steps: int
    pace_overruns: int


async def main(options: argparse.Namespace) -> int:
    """Measure all rounds, record them, and print what was recorded."""
    chosen = await prepare()
    async with connect() as kube, chosen.access(kube) as access:
        try:
            rounds = await _rounds(kube, chosen, access, options)
            took_part = await versions(kube)
        finally:
            await kube.delete(Ref("Namespace", None, scenario.NAMESPACE))
            await install.uninstall(kube)
    part = Part(
        name=f"speed at a scrape of {options.scrape_seconds} s",
        command=shlex.join(["tools/cluster/run", "tests/.venv/bin/python", *sys.argv]),
        versions=took_part,
        aims=_aims(rounds, options.scrape_seconds),
        figures={"paced": True, "rounds": [asdict(one) for one in rounds]},
    )
    for aim in part.aims:
        print(f"{aim.name}: {aim.value} ({aim.aim})")
    print(record("operator", part))
    return 0


async def _rounds(kube: Kube, chosen: Platform, access: Access, options: argparse.Namespace) -> list[Round]:
    scrape_seconds, rounds = options.scrape_seconds, []
    await install.install(kube, chosen, {"prometheus": {"server": {"scrapeInterval": f"{scrape_seconds}s"}}})
    for number in range(options.rounds):
        delay = scrape_seconds * (number + 0.5) / options.rounds
        rounds.append(await _round(kube, chosen, access, delay, patience=60 + 4 * scrape_seconds))
        print(f"round {number + 1} of {options.rounds}: {rounds[-1]}", flush=True)
    return rounds


async def _round(kube: Kube, chosen: Platform, access: Access, delay: float, patience: float) -> Round:
    async with applied(kube, chosen, access) as observer:
        await _until(lambda: condition({"status": observer.status}, "Ready").get("status") == "True", "Ready", patience)
        to_ready = observer.now
        url = await access.url(scenario.NAMESPACE, scenario.POOL, "http")
        async with image_client(url) as client:
            await _first_image(client)
            to_first_image = observer.now
            await _settle(observer, client, patience)
            await asyncio.sleep(delay)  # after a scrape: one has just shown that the pool is at rest
            return await _step(observer, client, to_ready, to_first_image, patience)


async def _step(
    observer: Observer, client: ImageClient, to_ready: float, to_first_image: float, patience: float
) -> Round:
    """Let the load step up, and see what follows."""
    loop = OpenLoop(client)
    began_at = time.monotonic()
    stepped_at = began_at + CALM.seconds - observer.started_at
    load = asyncio.create_task(loop.run(_arrivals(observer, began_at, patience)))
    await _until(lambda: _rise(observer, Knob.REPLICAS, stepped_at) is not None, "more replicas wanted", patience)
    await _until(lambda: observer.samples[-1].ready > 1, "a second pod ready", patience)
    second_pod_at = observer.now
    await load
    failed = sum(1 for request in loop.records if not request.ok)
    pacing = await observer.pacing()
    to_replicas_write = _rise(observer, Knob.REPLICAS, stepped_at)
    assert to_replicas_write is not None
    return Round(
        to_ready=round(to_ready, 2),
        to_first_image=round(to_first_image, 2),
        to_batch_size_write=_rise(observer, Knob.BATCH_SIZE, stepped_at),
        to_replicas_write=to_replicas_write,
        to_second_pod_ready=round(second_pod_at - stepped_at, 2),
        images_ok=len(loop.records) - failed,
        images_failed=failed,
        rejected_429=sum(request.rejections for request in loop.records),
        paced_steps=pacing.steps,
        pace_overruns=pacing.overruns,
    )


def _arrivals(observer: Observer, began_at: float, seconds: float) -> Iterator[tuple[float, ImageJob]]:
    """The calm load, and the step's until the replicas rise."""
    schedule = Schedule((CALM, Step("step", seconds, STEP_RATE)))
    for number, due in enumerate(constant_arrivals(schedule)):
        if _rise(observer, Knob.REPLICAS, began_at - observer.started_at) is not None:
            return
        yield began_at + due, scenario.job(number)


def _rise(observer: Observer, knob: Knob, since: float) -> float | None:
    """Seconds from a moment of the observer's clock to the first rise of a desired number after it."""
    rises = (change.at for change in observer.changes if change.knob is knob and change.is_rise and change.at >= since)
    first = next(rises, None)
    return None if first is None else round(first - since, 2)


async def _first_image(client: ImageClient) -> None:
    record_of_it, image = await client.ask(scenario.job(0))
    if image is None:
        raise DemoError(f"the pool is Ready and makes no image: {record_of_it.error}")


async def _settle(observer: Observer, client: ImageClient, seconds: float) -> None:
    """Ask for one image after the other until the pool is at rest: they tell the operator what a request takes."""
    deadline = time.monotonic() + seconds
    for number in itertools.count(1):
        if observer.samples and at_rest(observer):
            return
        if time.monotonic() > deadline:
            raise WaitError(f"not at rest after {seconds:g} s")
        await client.ask(scenario.job(number))


async def _until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise WaitError(f"not {what} after {seconds:g} s")
        await asyncio.sleep(POLL_SECONDS)


def _aims(rounds: Sequence[Round], scrape_seconds: int) -> list[Aim]:
    def median(read: Callable[[Round], float]) -> float:
        return round(statistics.median(read(one) for one in rounds), 2)

    at = f"at a scrape of {scrape_seconds} s"
    written = f"seconds from a load step to the write of more replicas {at}"
    median_write, worst_write = median(lambda one: one.to_replicas_write), max(one.to_replicas_write for one in rounds)
    overrun_share = sum(one.pace_overruns for one in rounds) / max(1, sum(one.paced_steps for one in rounds))
    pace = at_most(f"share of paced steps that overran {at}", OVERRUN_SHARE_LIMIT, round(overrun_share, 4))
    if scrape_seconds != SCRAPE_SECONDS:
        return [
            reported(f"{written}, median of {len(rounds)}", median_write),
            reported(f"{written}, worst", worst_write),
            pace,
        ]
    return [
        at_most(f"{written}, median of {len(rounds)}", SCALE_WRITE_AIM_SECONDS, median_write),
        reported(f"{written}, worst", worst_write),
        reported(
            f"seconds from a load step to a second pod that serves {at}, median",
            median(lambda one: one.to_second_pod_ready),
        ),
        reported("seconds from kubectl apply to Ready, tiny model, median", median(lambda one: one.to_ready)),
        reported(
            "seconds from kubectl apply to the first image, tiny model, median", median(lambda one: one.to_first_image)
        ),
        at_most("requests that failed in these rounds", 0, sum(one.images_failed for one in rounds)),
        pace,
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scrape-seconds", type=int, default=SCRAPE_SECONDS)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(_options())))
