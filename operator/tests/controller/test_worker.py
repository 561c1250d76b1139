"""One pool from key to writes, over a fake API server, in virtual time."""

import asyncio
import contextlib
import logging

import pytest
from controller.fake_api import FakeApi
from controller.rig import Rig
from controller.virtual_time import now, run
from reconcile.outcomes import outcome

from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller import worker as worker_module
from fluxpool_operator.errors import (
    ForbiddenError,
    ThrottledError,
    UnavailableError,
)
from fluxpool_operator.reconcile import Plan

CREATED = ["status demo", "apply Secret demo-admin", "apply Deployment demo", "apply Service demo"]
CREATED += ["apply PodDisruptionBudget demo"]


def test_a_new_pool_gets_its_status_first_and_then_all_children() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        assert await rig.work() == CREATED
        assert rig.api.get(kinds.FLUXPOOL)["status"]["desired"]["replicas"] == 1

    run(main())


def test_nothing_is_written_again_while_the_watch_is_behind_our_own_writes() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.work()
        for _ in range(3):  # nothing of what was written has come back yet
            rig.queue.add(key)
            assert await rig.work() == []
        while rig.api.on_its_way:  # and now it comes, one by one, each older than what is known
            rig.deliver(1)
            assert await rig.work() == []

    run(main())


def test_a_late_event_does_not_take_back_what_was_decided_after_it() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        rig.memories[key].outcome = outcome(3)
        rig.queue.add(key)
        await rig.work()
        rig.memories[key].outcome = None  # the autoscaler has lost its metrics: what was decided rules
        rig.deliver(1)  # the status with 3 has come back; the Deployment with 3 has not
        assert await rig.settle() == []
        assert rig.api.get(kinds.DEPLOYMENT)["spec"]["replicas"] == 3

    run(main())


def test_a_change_of_the_autoscaler_is_one_status_write_then_one_of_the_deployment() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        await asyncio.sleep(60)
        rig.memories[key].outcome = outcome(3)
        rig.queue.add(key)
        assert await rig.settle() == ["status demo", "apply Deployment demo"]

    run(main())


def test_a_deleted_child_comes_back_and_an_edited_one_is_put_right() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        rig.api.vanish(kinds.SERVICE)
        rig.deliver()
        assert await rig.settle() == ["apply Service demo"]
        metadata = rig.api.get(kinds.DEPLOYMENT)["metadata"]
        rig.api.edit(kinds.DEPLOYMENT, metadata={**metadata, "annotations": {}})
        rig.deliver()
        assert await rig.settle() == ["apply Deployment demo"]

    run(main())


def test_a_child_whose_label_was_taken_away_gets_it_back_by_one_write_and_is_known_from_then_on() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        secret = rig.api.get(kinds.SECRET, "demo-admin")
        others = [{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}]
        rig.api.edit(kinds.SECRET, "demo-admin", metadata={**secret["metadata"], "labels": {}, "managedFields": others})
        rig.deliver()
        assert await rig.settle() == ["apply Secret demo-admin"]
        rig.api.edit(kinds.SECRET, "demo-admin", data={}, metadata={**secret["metadata"], "managedFields": others})
        rig.deliver()
        assert await rig.settle() == ["apply Secret demo-admin"], "its watch counts again"

    run(main())


def test_an_object_of_somebody_else_under_a_childs_name_is_found_and_left_alone() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.put(kinds.SERVICE, {"metadata": {"name": "demo"}, "spec": {"ports": []}})  # no label: no watch sees it
        rig.api.add_pool()
        rig.deliver()
        writes = await rig.settle()
        assert "apply Service demo" not in writes
        assert "apply Deployment demo" in writes
        conditions = {c["type"]: c["reason"] for c in rig.api.get(kinds.FLUXPOOL)["status"]["conditions"]}
        assert conditions["Stalled"] == "NameConflict"
        assert rig.api.get(kinds.SERVICE)["spec"] == {"ports": []}

    run(main())


def test_names_are_read_only_before_they_are_taken() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        assert rig.api.reads == ["Secret demo-admin", "Deployment demo", "Service demo", "PodDisruptionBudget demo"]
        rig.memories[key].outcome = outcome(3)
        rig.queue.add(key)
        await rig.settle()
        assert len(rig.api.reads) == 4

    run(main())


def test_a_conflict_is_no_failure_of_the_operator_and_is_tried_on_the_newer_object() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        rig.api.edit(kinds.FLUXPOOL, kind="FluxPool")  # the event of this is still on its way
        assert await rig.next() == "conflict"
        rig.deliver()
        assert "apply Deployment demo" in await rig.settle()

    run(main())


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("patch", "connection refused"),
        ForbiddenError("patch", 'User "x" cannot patch resource "fluxpools/status"'),
        ThrottledError("patch", "slow down", retry_after_seconds=7),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_write_is_said_in_one_line_and_tried_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.api.failures["status demo"] = error
        rig.deliver()
        with caplog.at_level(logging.WARNING):
            assert await rig.work() == ["status demo"], "what follows depends on the status, and waits"
        assert [record.getMessage() for record in caplog.records] == [str(error)]
        rig.api.failures.clear()
        assert (await rig.queue.get())[0] == key
        assert now() == (7 if isinstance(error, ThrottledError) else 1)

    run(main())


def test_a_bug_that_one_pool_brings_to_light_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = worker_module.reconcile

    def reconcile(snapshot, moment) -> Plan:
        if snapshot.pool.metadata.name == "cursed":
            raise ZeroDivisionError
        return real(snapshot, moment)

    async def main() -> None:
        rig = Rig()
        rig.api.add_pool("cursed")
        rig.api.add_pool("demo")
        rig.deliver()
        workers = [asyncio.create_task(rig.worker.run()) for _ in range(2)]
        await asyncio.sleep(10)
        assert not any(task.done() for task in workers)
        assert [write for write in rig.api.writes if "cursed" not in write][: len(CREATED)] == CREATED
        assert rig.metrics.reconciles.labels("bug")._value.get() == 4, "at 0, 1, 3 and 7 s: with backoff"
        for task in workers:
            task.cancel()

    monkeypatch.setattr(worker_module, "reconcile", reconcile)
    run(main())
    assert "ZeroDivisionError" in caplog.text


def test_a_pool_that_cannot_be_parsed_says_so_and_keeps_its_children() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        rig.api.edit(kinds.FLUXPOOL, spec={"model": {}})
        rig.deliver()
        assert await rig.settle() == ["status demo"]
        assert rig.api.get(kinds.DEPLOYMENT)

    run(main())


def test_of_a_deleted_pool_nothing_is_kept() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        rig.metrics.set_pool(*key, desired=1, batch_size=2, current=1)
        rig.api.vanish(kinds.FLUXPOOL)
        rig.deliver()
        assert await rig.settle() == []
        assert rig.forgotten == [key]
        for kind, name in ((kinds.SERVICE, "demo"), (kinds.SECRET, "demo-admin")):
            rig.api.vanish(kind, name)
            rig.deliver()
            await rig.settle()
        assert rig.forgotten == [key], "its children go after it, and tell nothing new"
        assert list(rig.memories) == []
        assert b'pool="demo"' not in rig.metrics.render()

    run(main())


def test_a_pool_made_anew_under_the_same_name_starts_anew() -> None:
    async def main() -> None:
        rig = Rig()
        key = rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        rig.memories[key].outcome = outcome(4)
        rig.api.vanish(kinds.FLUXPOOL)
        for kind in kinds.CHILDREN:
            rig.api.vanish(kind, "demo-admin" if kind is kinds.SECRET else "demo")
        rig.deliver()
        await rig.settle()
        rig.api.add_pool()
        rig.deliver()
        await rig.settle()
        assert rig.api.get(kinds.DEPLOYMENT)["spec"]["replicas"] == 1

    run(main())


def test_killed_after_any_write_the_next_process_finishes_the_change() -> None:
    class Killed(BaseException):
        pass

    async def interrupted_after(writes: int) -> FakeApi:
        api = FakeApi()
        key = api.add_pool()
        first = Rig(api).sync()
        await first.settle()
        left = writes

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        api.before_write = count
        api.edit(kinds.FLUXPOOL, spec={**api.get(kinds.FLUXPOOL)["spec"], "serving": {"drainSeconds": 100}})
        first.memories[key].outcome = outcome(3)
        first.deliver()
        with contextlib.suppress(Killed):
            await first.settle()
        api.before_write = lambda: None
        await Rig(api).sync().settle()
        return api

    async def main() -> None:
        for writes in range(5):
            api = await interrupted_after(writes)
            decided = api.get(kinds.FLUXPOOL)["status"]["desired"]["replicas"]
            deployment = api.get(kinds.DEPLOYMENT)["spec"]
            assert decided == (3 if writes else 1), "a decision that was written is kept"
            assert deployment["replicas"] == decided
            assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] == 115
            await Rig(api).sync().settle()
            assert await Rig(api).sync().settle() == [], "and then there is nothing left to do"

    run(main())
