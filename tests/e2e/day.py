"""A day of one pool: it is applied, gets busy, gets busier than one pod can be, is rolled over, and rests again.

The acts build on each other, since each start of a pod takes its time; the tests look at what was seen. Meanwhile the
operator is killed in the middle of a change, and the pool's manifest is applied again by whatever tools people use.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from e2e import operator_process
from e2e.drive import Drive
from e2e.manifests import Manifest
from e2e.pools import (
    BATCH_CLIENTS,
    FULL_BATCH_SIZE,
    NAMESPACE,
    POOL,
    REPLICAS_RATE,
    SHARE_RATE,
    STEPS,
    environment,
    spec,
)
from e2e.stage import Stage, metrics_of
from e2e.waiting import until
from fluxpool_demo.kube import Object, Ref, condition
from fluxpool_demo.observe import Observer
from fluxpool_demo.record import Decision, Knob, Pacing, PodRecord, Sample

THE_POOL = Ref("FluxPool", NAMESPACE, POOL)
SHARE_SECONDS = 10.0
"""At SHARE_RATE so many images that chance alone moves no share by 15 points: their standard deviation is 4."""


@dataclass(frozen=True)
class Day:
    """What was seen. Times are seconds since the pool was applied.

    Attributes:
        image: the first one.
        busy_at: when the load began.
        busier_at: when it stepped beyond what one pod carries.
        killed_at: when the operator was killed.
        operator: its pod in the evening.
        generations: of the pool before and after its manifest was applied again.
        two_ready_at: when the second pod was seen to be ready.
        shares_of_load: what each of the two pods got of the images of the 10 s after that, 0 to 1.
        shares_of_one: what each got of those of a client that asks one thing after another.
        rollout_at: when the spec was changed.
        rolled_out_at: when the pods of the former template were gone.
        evening_at: when the load had ended.
        admitted: images that the pod which is left has admitted.
        answered: images that it has answered.
    """

    ready_at: float
    first_image_at: float
    image: bytes
    busy_at: float
    busier_at: float
    killed_at: float
    operator: Object
    generations: tuple[int, int]
    two_ready_at: float
    shares_of_load: tuple[float, ...]
    shares_of_one: tuple[float, ...]
    rollout_at: float
    rolled_out_at: float
    evening_at: float
    admitted: float
    answered: float
    decisions: tuple[Decision, ...]
    samples: tuple[Sample, ...]
    pods: tuple[PodRecord, ...]
    pacing: Pacing

    def numbers(self, knob: Knob) -> list[int]:
        """The desired numbers one after another."""
        return [decision.after for decision in self.decisions if decision.knob is knob]

    def first_rise(self, knob: Knob) -> Decision:
        """The first rise under load."""
        return next(d for d in self.decisions if d.knob is knob and d.is_rise and d.at > self.busy_at)


@dataclass
class _Play:
    stage: Stage
    observer: Observer
    manifest: Manifest

    async def until(self, holds: object, what: str, seconds: float) -> None:
        assert callable(holds)
        await until(holds, what, seconds, lambda: f"{self.observer.samples[-1:]} {self.observer.notes[-1:]}")

    def has_said_why(self, replicas: int) -> bool:
        rises = [d for d in self.observer.decisions if d.knob is Knob.REPLICAS and d.is_rise]
        return any(rise.after == replicas and rise.reason for rise in rises)

    def at_rest(self) -> bool:
        now = self.observer.samples[-1]
        settled = now.batch_size is not None and now.batch_size == now.desired_batch_size
        return settled and now.batch_size != FULL_BATCH_SIZE and now.desired_replicas == now.pods == now.ready == 1


async def live_through(stage: Stage, folder: Path) -> Day:
    """The whole day. The pool is there and at rest afterwards."""
    manifest = Manifest(folder, stage.platform.pool(NAMESPACE, POOL, spec(stage.platform.model)))
    await stage.platform.make_namespace(stage.kube, NAMESPACE)
    async with stage.observing() as observer:
        play = _Play(stage, observer, manifest)
        ready_at = await _morning(play)
        async with stage.driving() as drive:
            image = await drive.one()
            first_image_at = observer.now
            await _come_to_rest(play, drive)
            busy_at = observer.now
            async with drive.asking(BATCH_CLIENTS):
                await play.until(lambda: observer.samples[-1].batch_size == FULL_BATCH_SIZE, "a larger batch", 30)
            busier_at = observer.now
            async with drive.running(REPLICAS_RATE):
                killed_at = await _kill_in_mid_change(play)
                generations = await _apply_again(play)
                await play.until(lambda: observer.samples[-1].ready == 2, "two pods that serve", 90)
                two_ready_at = observer.now
                shares_of_load, shares_of_one = await _shares(play, drive)
                drive.rate, rollout_at = REPLICAS_RATE, observer.now
                await _roll_out(play)
                rolled_out_at = observer.now
        evening_at = observer.now
        await play.until(play.at_rest, "rest", 90)
        (pod,) = await stage.pods()
        counted = await metrics_of(NAMESPACE, pod["metadata"]["name"])
        return Day(
            ready_at=ready_at,
            first_image_at=first_image_at,
            image=image,
            busy_at=busy_at,
            busier_at=busier_at,
            killed_at=killed_at,
            operator=await stage.operator_pod(),
            generations=generations,
            two_ready_at=two_ready_at,
            shares_of_load=shares_of_load,
            shares_of_one=shares_of_one,
            rollout_at=rollout_at,
            rolled_out_at=rolled_out_at,
            evening_at=evening_at,
            admitted=counted["fluxpool_admitted_images_total"],
            answered=counted["fluxpool_images_total"],
            decisions=tuple(observer.decisions),
            samples=tuple(observer.samples),
            pods=tuple(observer.pods.values()),
            pacing=await observer.pacing(),
        )


async def _morning(play: _Play) -> float:
    """Apply the pool, and wait for Ready. Returns when it was."""
    observer = play.observer
    await play.manifest.helm()
    await play.until(lambda: condition({"status": observer.status}, "Ready").get("status") == "True", "Ready", 120)
    return observer.now


async def _come_to_rest(play: _Play, drive: Drive) -> None:
    """A few images tell the operator how long one takes."""
    for _ in range(3):
        await drive.one()
    await play.until(play.at_rest, "rest", 60)


async def _kill_in_mid_change(play: _Play) -> float:
    """Kill the operator as soon as it has written that it wants another pod, and why. Returns when.

    Not between the two: the event is a courtesy, which no later process makes up for.
    """
    operator = await play.stage.operator_pod()
    await play.until(lambda: play.has_said_why(2), "another replica", 30)
    await operator_process.kill(operator)
    return play.observer.now


async def _apply_again(play: _Play) -> tuple[int, int]:
    """Apply the pool's manifest in every way while it scales. Returns its generation before and after."""
    before = await play.stage.kube.get(THE_POOL)
    for apply in (play.manifest.client_side, play.manifest.server_side, play.manifest.helm):
        await apply()
    after = await play.stage.kube.get(THE_POOL)
    assert before is not None
    assert after is not None
    return before["metadata"]["generation"], after["metadata"]["generation"]


async def _shares(play: _Play, drive: Drive) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each pod gets in the 10 s from now: of the load, and of one client that asks one thing after another.

    The latter would keep its one connection, if the server let it; so that it can ask often, it asks for what is
    refused at once.
    """
    drive.steps, drive.rate = 1, SHARE_RATE
    before = await _counters(play.stage)
    async with asyncio.timeout(2 * SHARE_SECONDS):
        await drive.ask_in_vain(SHARE_SECONDS)
    after = await _counters(play.stage)
    drive.steps = STEPS
    return _shares_of("admitted_images", before, after), _shares_of("rejected", before, after)


async def _counters(stage: Stage) -> list[dict[str, float]]:
    names = sorted(pod["metadata"]["name"] for pod in await stage.pods())
    return await asyncio.gather(*(metrics_of(NAMESPACE, name) for name in names))


def _shares_of(what: str, before: list[dict[str, float]], after: list[dict[str, float]]) -> tuple[float, ...]:
    counter = f"fluxpool_{what}_total"
    got = [late[counter] - early[counter] for early, late in zip(before, after, strict=True)]
    return tuple(one / sum(got) for one in got)


async def _roll_out(play: _Play) -> None:
    """Change the pods' template, and wait until the former pods are gone."""
    former = [uid for uid, pod in play.observer.pods.items() if pod.gone_at is None]
    change = {"spec": {"template": {"env": environment(FLUXPOOL_LOG_LEVEL="warning")}}}
    await play.stage.kube.patch(THE_POOL, change)

    def replaced() -> bool:
        gone = all(play.observer.pods[uid].gone_at is not None for uid in former)
        return gone and play.observer.samples[-1].ready == 2

    await play.until(replaced, "pods of the new template alone", 150)
