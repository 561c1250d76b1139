"""The demo from an empty cluster to pictures: install, apply, first images, load, and back to rest."""

import asyncio
import os
import platform as machine
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version

import httpx

from fluxpool_demo import install, scenario
from fluxpool_demo.access import Access
from fluxpool_demo.contact_sheet import Picture
from fluxpool_demo.errors import DemoError
from fluxpool_demo.figures import Figures, figures
from fluxpool_demo.kube import Kube, Ref, condition, connect, is_true
from fluxpool_demo.live import Terminal
from fluxpool_demo.load import ImageClient, ImageJob, OpenLoop, RequestRecord, image_client
from fluxpool_demo.observe import Observer
from fluxpool_demo.platform import SCRAPE_SECONDS, Platform, prepare
from fluxpool_demo.prometheus import Prometheus
from fluxpool_demo.record import Decision, Recording
from fluxpool_demo.schedule import constant_arrivals

THE_POOL = Ref("FluxPool", scenario.NAMESPACE, scenario.POOL)
READY_SECONDS = 120.0
REST_SECONDS = 60.0
PICTURE_TAIL_SECONDS = 3.0


@dataclass(frozen=True)
class Stage:
    """What every act of the demo works with.

    Attributes:
        kube: the cluster.
        platform: how fluxpool runs there.
        access: the way to Services.
        terminal: where progress is told.
        command: what was typed.
        began_at: when the whole demo began, on the monotonic clock.
    """

    kube: Kube
    platform: Platform
    access: Access
    terminal: Terminal
    command: str
    began_at: float


@dataclass
class Album:
    """The first images, then some of the load, evenly over it."""

    every: int
    pictures: list[Picture] = field(default_factory=list)
    _seen: int = 0

    def add(self, job: ImageJob, image: bytes) -> None:
        """One of the first images."""
        self.pictures.append(Picture(image, f"{job.prompt}, seed {job.seed}"))

    def add_some(self, job: ImageJob, image: bytes) -> None:
        """One of the load's images; most are passed over."""
        if self._seen % self.every == 0 and len(self.pictures) < scenario.PICTURES:
            self.add(job, image)
        self._seen += 1


@dataclass(frozen=True)
class Opening:
    """Times of the first act, on the run's clock."""

    ready_at: float
    first_image_at: float


async def play(terminal: Terminal, typed: str, began_at: float, *, tidy: bool) -> tuple[Recording, Sequence[Picture]]:
    """Play all acts on the cluster of the current kubeconfig. Returns what was seen and some of the images.

    Args:
        terminal: where progress is told.
        typed: the command, for the report.
        began_at: when the whole demo began, on the monotonic clock.
        tidy: take pool and chart away at the end, whatever the end is.

    Raises:
        DemoError: it cannot go on.
    """
    terminal.say("images and the tiny model")
    chosen = await prepare()
    async with connect() as kube, chosen.access(kube) as access:
        await install.require_own(kube, chosen)
        try:
            terminal.say("helm install: operator and Prometheus")
            await install.install(kube, chosen)
            return await _acts(Stage(kube, chosen, access, terminal, typed, began_at))
        finally:
            if tidy:
                await kube.delete(THE_POOL)
                await kube.delete(Ref("Namespace", None, scenario.NAMESPACE))
                await install.uninstall(kube)


async def _acts(stage: Stage) -> tuple[Recording, Sequence[Picture]]:
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(applied(stage.kube, stage.platform, stage.access))
        await _wait_until_ready(stage)
        ready_at = observer.now
        stage.terminal.say(f"Ready after {ready_at:.1f} s")
        url = await stage.access.url(scenario.NAMESPACE, scenario.POOL, "http")
        client = await stack.enter_async_context(image_client(url))
        album = Album(every=len(constant_arrivals(scenario.SCHEDULE)) // (scenario.PICTURES - scenario.FIRST_IMAGES))
        opening = Opening(ready_at, await _first_images(stage, observer, client, album))
        await _wait_until_at_rest(stage, observer)
        loop, load_started_at = await _drive(stage, observer, client, album)
        recording = await _recorded(stage, observer, opening, loop, load_started_at)
    return recording, album.pictures


@asynccontextmanager
async def applied(kube: Kube, platform: Platform, access: Access) -> AsyncIterator[Observer]:
    """The pool in a namespace made anew, watched from the moment it is applied. Pods of an earlier one have gone."""
    await kube.delete(Ref("Namespace", None, scenario.NAMESPACE))
    await platform.make_namespace(kube, scenario.NAMESPACE)
    pool = platform.pool(scenario.NAMESPACE, scenario.POOL, scenario.spec(platform.model))
    url = await access.url(install.SYSTEM_NAMESPACE, install.PROMETHEUS, "http")
    async with httpx.AsyncClient(base_url=url, timeout=5) as http:
        observer = Observer(kube, Prometheus(http), scenario.NAMESPACE, scenario.POOL, started_at=time.monotonic())
        async with observer.watching():
            await kube.apply(pool)
            yield observer


async def _wait_until_ready(stage: Stage) -> None:
    stage.terminal.say(f"{THE_POOL} applied, waiting for Ready")
    pool = await stage.kube.wait(
        THE_POOL, lambda pool: is_true(pool, "Ready") or is_true(pool, "Stalled"), "Ready", READY_SECONDS
    )
    if is_true(pool, "Stalled"):
        stalled = condition(pool, "Stalled")
        raise DemoError(f"{THE_POOL} cannot go on: {stalled['reason']}: {stalled['message']}")


async def _first_images(stage: Stage, observer: Observer, client: ImageClient, album: Album) -> float:
    """Ask for a few images, one after another. Returns when the first was there."""
    first_at = None
    for number in range(scenario.FIRST_IMAGES):
        job = scenario.job(number)
        record, image = await client.ask(job)
        if image is None:
            raise DemoError(f"the pool is Ready and makes no image: {record.error}")
        first_at = first_at or observer.now
        album.add(job, image)
    assert first_at is not None  # noqa: S101 - there is at least one
    stage.terminal.say(f"first image after {first_at:.1f} s; models: {', '.join(await client.models())}")
    return first_at


async def _wait_until_at_rest(stage: Stage, observer: Observer) -> None:
    """Until the operator has measured the pool and its batch size has settled below its maximum."""
    deadline = time.monotonic() + REST_SECONDS
    while not at_rest(observer):
        if time.monotonic() > deadline:
            raise DemoError(f"the pool did not come to rest within {REST_SECONDS:g} s: {observer.status}")
        await asyncio.sleep(0.5)
    stage.terminal.say(f"at rest: 1 replica, batch size {observer.samples[-1].batch_size}; the load begins")


def at_rest(observer: Observer) -> bool:
    """Whether the pool has one replica, and its batch size is where it stays without load."""
    last = observer.samples[-1]
    settled = last.batch_size is not None and last.batch_size == last.desired_batch_size
    return settled and last.batch_size == scenario.RESTING_BATCH_SIZE and last.desired_replicas == last.pods == 1


async def _drive(stage: Stage, observer: Observer, client: ImageClient, album: Album) -> tuple[OpenLoop, float]:
    """The load, and after it the way down. Returns the load and when it began on the run's clock."""
    began_at = time.monotonic()
    loop = OpenLoop(client, on_image=album.add_some)
    arrivals = enumerate(constant_arrivals(scenario.SCHEDULE), start=scenario.FIRST_IMAGES)
    jobs = ((began_at + due, scenario.job(number)) for number, due in arrivals)

    def look() -> tuple[Figures, list[Decision]]:
        second = time.monotonic() - began_at
        offset = began_at - observer.started_at
        now = figures(second, time.monotonic(), scenario.SCHEDULE.step_at(second), observer.samples[-1], loop)
        shown = [replace(d, at=d.at - offset) for d in observer.decisions if d.at >= offset]
        return now, shown

    async with stage.terminal.showing(look):
        await loop.run(jobs)
        await asyncio.sleep(max(0.0, began_at + scenario.SCHEDULE.seconds - time.monotonic()))
        await _wait_until_down(observer)
    return loop, began_at - observer.started_at


async def _wait_until_down(observer: Observer) -> None:
    """Until both knobs are back, or the time for it is over: then the verdict says so."""
    deadline = time.monotonic() + scenario.SECONDS_TO_COME_DOWN
    while time.monotonic() < deadline:
        await asyncio.sleep(PICTURE_TAIL_SECONDS)
        if at_rest(observer):
            return


async def _recorded(
    stage: Stage, observer: Observer, opening: Opening, loop: OpenLoop, load_started_at: float
) -> Recording:
    def on_run_clock(record: RequestRecord) -> RequestRecord:
        start = observer.started_at
        return replace(
            record, due_at=record.due_at - start, sent_at=record.sent_at - start, done_at=record.done_at - start
        )

    return Recording(
        command=stage.command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(),
        versions=await versions(stage.kube),
        scrape_interval_seconds=SCRAPE_SECONDS,
        ready_at=opening.ready_at,
        first_image_at=opening.first_image_at,
        load_started_at=load_started_at,
        schedule=scenario.SCHEDULE,
        samples=tuple(observer.samples),
        decisions=tuple(observer.decisions),
        requests=tuple(on_run_clock(record) for record in loop.records),
        pods=tuple(observer.pods.values()),
        pacing=await observer.pacing(),
        total_seconds=time.monotonic() - stage.began_at,
    )


def _machine() -> dict[str, str | int | None]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    system = f"{machine.system()} {machine.release()}"
    return {"cpus": os.cpu_count(), "processor": machine.machine(), "memory_gib": memory, "system": system}


async def versions(kube: Kube) -> dict[str, str]:
    """Of what takes part."""
    return {
        "fluxpool": version("fluxpool-demo"),
        "kubernetes": await kube.server_version(),
        "python": machine.python_version(),
        "openai": version("openai"),
    }
