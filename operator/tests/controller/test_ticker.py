"""The scale tick and the pushes, with a scripted autoscaler and pusher."""

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from controller.rig import Rig, wall
from controller.virtual_time import now, run
from reconcile.outcomes import outcome

from fluxpool_autoscaler import Coverage, Decision, Mode, Verdict
from fluxpool_operator.api import FluxPool
from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.pushes import Pushes
from fluxpool_operator.controller.ticker import Ticker
from fluxpool_operator.scaling.outcome import EventFact, Outcome
from fluxpool_operator.world import PodView


def word(replicas: int, *, mode: Mode = Mode.AUTO, previous: int = 1, event: EventFact | None = None) -> Outcome:
    verdict = Verdict(mode, replicas, replicas, previous, (), "queue_depth", (), "because")
    batch = Verdict(mode, 8, 8, 8, (), None, (), "as it is")
    said = outcome(replicas if mode is Mode.AUTO else None, event=event)
    return Outcome(
        **{name: getattr(said, name) for name in Outcome.__slots__ if name != "decision"},
        decision=Decision(verdict, batch, Coverage()),
    )


@dataclass
class Script:
    """Says what it is told to; plays Autoscaler and BatchPusher."""

    words: dict[str, Outcome | Exception] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)
    polls: list[float] = field(default_factory=list)
    seen: list[tuple[str, int]] = field(default_factory=list)
    pushes: list[tuple[str, int, list[str], str]] = field(default_factory=list)
    push_seconds: float = 0.0
    poll_seconds: float = 0.0

    async def poll(self) -> None:
        self.polls.append(now())
        await asyncio.sleep(self.poll_seconds)

    def evaluate(self, pool: FluxPool, pods: Sequence[PodView], current_replicas: int, now: datetime) -> Outcome:
        self.seen.append((pool.name, current_replicas))
        said = self.words.get(pool.name, word(1))
        if isinstance(said, Exception):
            raise said
        return said

    def batch_sizes(self, key: tuple[str, str]) -> Mapping[str, int]:
        return self.reported

    async def converge(
        self, key: tuple[str, str], desired: int, pods: Sequence[PodView], token: str
    ) -> Mapping[str, int]:
        self.pushes.append((key[1], desired, [pod.name for pod in pods], token))
        await asyncio.sleep(self.push_seconds)
        return {pod.uid: desired for pod in pods}

    def forget(self, key: tuple[str, str]) -> None:
        raise NotImplementedError


def make_ticker(rig: Rig, script: Script) -> Ticker:
    return Ticker(
        autoscaler=script,
        view=rig.view,
        memories=rig.memories,
        pushes=Pushes(script, rig.view, rig.memories, rig.queue.add),
        add=rig.queue.add,
        metrics=rig.metrics,
        now=wall,
    )


async def with_pools(*names: str) -> Rig:
    rig = Rig()
    for name in names:
        rig.api.add_pool(name)
    rig.deliver()
    await rig.settle()
    return rig


def with_ready_pod(rig: Rig, name: str = "demo") -> None:
    template = rig.api.get(kinds.DEPLOYMENT, name)["spec"]["template"]["metadata"]
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"conditions": [ready], "podIP": "10.0.0.1"}
    rig.api.put(kinds.POD, {"metadata": {"name": f"{name}-0", "uid": "u0", **template}, "spec": {}, "status": status})
    rig.deliver()


def test_a_pool_is_queued_when_the_word_on_it_changes_and_only_then() -> None:
    async def main() -> None:
        rig = await with_pools("one", "two")
        script = Script()
        ticker = make_ticker(rig, script)
        await ticker.tick()
        await rig.settle()
        await ticker.tick()
        assert len(rig.queue) == 0
        script.words["two"] = word(3)
        await ticker.tick()
        assert await rig.settle() == ["status two", "apply Deployment two"]
        assert script.seen[-2:] == [("one", 1), ("two", 1)]
        await ticker.tick()
        assert script.seen[-1] == ("two", 3), "the autoscaler sees what was written at once"

    run(main())


def test_the_numbers_are_exported_in_every_mode() -> None:
    async def main() -> None:
        rig = await with_pools("auto", "manual")
        script = Script({"auto": word(4), "manual": word(3, mode=Mode.MANUAL)})
        await make_ticker(rig, script).tick()
        exposition = rig.metrics.render().decode()
        for line in (
            'fluxpool_desired_replicas{namespace="default",pool="auto"} 4.0',
            'fluxpool_desired_replicas{namespace="default",pool="manual"} 3.0',
            'fluxpool_desired_batch_size{namespace="default",pool="manual"} 8.0',
            'fluxpool_current_replicas{namespace="default",pool="auto"} 1.0',
        ):
            assert line in exposition

    run(main())


def test_a_change_is_one_line_in_the_log_and_one_count(caplog: pytest.LogCaptureFixture) -> None:
    event = EventFact("Normal", "ScaledUp", "replicas 1 -> 3: queue depth is 24, target 8")

    async def main() -> None:
        rig = await with_pools("demo")
        script = Script({"demo": word(3, event=event)})
        ticker = make_ticker(rig, script)
        with caplog.at_level(logging.INFO):
            await ticker.tick()
            script.words["demo"] = word(3, previous=3, event=event)
            await ticker.tick()
        assert [record.getMessage() for record in caplog.records] == [event.message]
        assert caplog.records[0].__dict__["reason"] == "ScaledUp"
        assert rig.metrics.decisions.labels("replicas", "queue_depth")._value.get() == 1

    run(main())


def test_one_pools_bug_does_not_keep_the_others_from_being_judged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rig = await with_pools("cursed", "demo")
        script = Script({"cursed": ZeroDivisionError(), "demo": word(2)})
        await make_ticker(rig, script).tick()
        assert "apply Deployment demo" in await rig.settle()
        assert rig.metrics.tick_errors._value.get() == 1

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_pools_that_cannot_be_parsed_or_are_being_deleted_are_not_judged() -> None:
    async def main() -> None:
        rig = await with_pools("broken", "ending")
        rig.api.edit(kinds.FLUXPOOL, "broken", spec={})
        metadata = rig.api.get(kinds.FLUXPOOL, "ending")["metadata"]
        rig.api.edit(kinds.FLUXPOOL, "ending", metadata={**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"})
        rig.deliver()
        script = Script()
        await make_ticker(rig, script).tick()
        assert script.seen == []

    run(main())


def test_ticks_come_at_their_interval_however_long_one_takes_and_beat_the_heart() -> None:
    async def main() -> None:
        rig = Rig()
        script = Script(poll_seconds=0.5)
        ticker = make_ticker(rig, script)
        task = asyncio.create_task(ticker.run(2.0))
        await asyncio.sleep(5)
        script.poll_seconds = 3
        await asyncio.sleep(8)
        task.cancel()
        assert script.polls == [0, 2, 4, 6, 9, 12]

    run(main())


def test_a_batch_size_is_pushed_beside_the_ticks_and_once_at_a_time() -> None:
    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        script = Script(push_seconds=10)
        ticker = make_ticker(rig, script)
        rig.memories[PoolKey("default", "demo")].desired_batch_size = 8
        for _ in range(3):
            await ticker.tick()
            assert now() == 0, "no tick waits for a pod"
        await asyncio.sleep(1)
        secret = rig.api.get(kinds.SECRET, "demo-admin")["data"]["token"]
        assert script.pushes == [("demo", 8, ["demo-0"], base64.b64decode(secret).decode())]
        await asyncio.sleep(10)
        assert rig.memories[PoolKey("default", "demo")].batch_sizes == {"u0": 8}
        await rig.settle()
        assert rig.api.get(kinds.FLUXPOOL)["status"]["batchSize"] == 8

    run(main())


def test_pods_that_report_the_right_batch_size_are_left_alone_and_believed() -> None:
    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        script = Script(reported={"u0": 4})
        ticker = make_ticker(rig, script)
        memory = rig.memories[PoolKey("default", "demo")]
        memory.desired_batch_size = 4
        await ticker.tick()
        assert script.pushes == []
        assert memory.batch_sizes == {"u0": 4}
        script.reported = {"u0": 1}  # it has restarted
        await ticker.tick()
        await asyncio.sleep(0)
        assert [size for _, size, *_ in script.pushes] == [4]

    run(main())


def test_without_a_batch_size_wanted_nothing_is_pushed() -> None:
    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        script = Script(reported={"u0": 2})
        await make_ticker(rig, script).tick()
        assert script.pushes == []
        assert rig.memories[PoolKey("default", "demo")].batch_sizes == {"u0": 2}

    run(main())


@pytest.mark.parametrize("data", [None, {}, {"token": "%%%"}])
def test_without_a_token_nothing_is_pushed(data: object) -> None:
    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        rig.api.edit(kinds.SECRET, "demo-admin", data=data)
        rig.deliver()
        script = Script()
        ticker = make_ticker(rig, script)
        rig.memories[PoolKey("default", "demo")].desired_batch_size = 4
        await ticker.tick()
        assert script.pushes == []

    run(main())


def test_a_bug_in_pushing_is_logged_and_the_next_tick_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Script):
        async def converge(self, *arguments: object) -> Mapping[str, int]:
            self.pushes.append(("demo", 0, [], ""))
            raise ZeroDivisionError

    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        script = Broken()
        ticker = make_ticker(rig, script)
        rig.memories[PoolKey("default", "demo")].desired_batch_size = 4
        for _ in range(2):
            await ticker.tick()
            await asyncio.sleep(0.1)
        assert len(script.pushes) == 2

    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_push_that_ends_after_its_pool_leaves_nothing_behind() -> None:
    async def main() -> None:
        rig = await with_pools("demo")
        with_ready_pod(rig)
        script = Script(push_seconds=10)
        ticker = make_ticker(rig, script)
        rig.memories[PoolKey("default", "demo")].desired_batch_size = 4
        await ticker.tick()
        rig.api.vanish(kinds.FLUXPOOL)
        rig.deliver()
        await rig.settle()
        await asyncio.sleep(20)
        assert list(rig.memories) == []

    run(main())
