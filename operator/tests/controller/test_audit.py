"""What the watches failed to bring, found by listing."""

import asyncio

import pytest
from controller.fake_api import FakeApi
from controller.rig import Rig
from controller.virtual_time import now, run

from fluxpool_operator.cluster import Kind, Listing, kinds
from fluxpool_operator.controller.audit import GRACE_SECONDS, Audit
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.errors import StoppedError, UnavailableError

KEY = PoolKey("default", "demo")


def make_audit(rig: Rig, namespaces: tuple[str, ...] = ()) -> tuple[Audit, list[None]]:
    missed: list[None] = []
    return Audit(rig.api, rig.view, namespaces, rig.queue.add, lambda: missed.append(None)), missed


async def a_settled_pool() -> Rig:
    rig = Rig()
    rig.api.add_pool()
    rig.deliver()
    await rig.settle()
    return rig


def test_the_first_sync_lasts_until_all_that_is_listed_has_come() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool("one")
        rig.api.add_pool("two")
        audit, _ = make_audit(rig)
        sync = asyncio.create_task(audit.first_sync())
        await asyncio.sleep(1)
        rig.deliver(1)
        await asyncio.sleep(1)
        assert not sync.done()
        rig.deliver()
        await asyncio.sleep(1)
        assert sync.done()

    run(main())


def test_the_first_sync_of_an_empty_cluster_is_over_at_once() -> None:
    async def main() -> None:
        await make_audit(Rig())[0].first_sync()
        assert now() == 0

    run(main())


def test_the_first_sync_does_not_wait_for_what_was_deleted_meanwhile() -> None:
    async def main() -> None:
        rig = Rig()
        rig.api.add_pool("gone")
        sync = asyncio.create_task(make_audit(rig)[0].first_sync())
        await asyncio.sleep(1)
        rig.api.vanish(kinds.FLUXPOOL, "gone", unseen=True)
        await asyncio.sleep(10)
        assert sync.done()

    run(main())


def test_a_healthy_view_passes() -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        audit, missed = make_audit(rig)
        await audit.check()
        assert missed == []
        assert len(rig.queue) == 0

    run(main())


def test_a_child_deleted_in_a_gap_of_the_watch_is_found_and_comes_back() -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        rig.api.vanish(kinds.SERVICE, unseen=True)
        audit, missed = make_audit(rig)
        await audit.check()
        assert len(missed) == 1
        assert await rig.settle() == ["apply Service demo"]

    run(main())


def test_a_pool_deleted_in_a_gap_of_the_watch_is_forgotten() -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        rig.api.vanish(kinds.FLUXPOOL, unseen=True)
        await make_audit(rig)[0].check()
        await rig.settle()
        assert rig.forgotten == [KEY]

    run(main())


def test_what_is_made_or_deleted_during_the_check_is_no_mistake_of_the_watch() -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        audit, missed = make_audit(rig)
        check = asyncio.create_task(audit.check())
        await asyncio.sleep(1)
        rig.api.add_pool("new")
        rig.api.vanish(kinds.SERVICE)
        rig.deliver()
        await asyncio.sleep(GRACE_SECONDS)
        await check
        assert missed == []
        assert PoolKey("default", "new") in rig.view.pools

    run(main())


def test_a_watch_that_is_a_little_late_is_left_alone() -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        rig.api.add_pool("late")
        check = asyncio.create_task(make_audit(rig)[0].check())
        await asyncio.sleep(GRACE_SECONDS / 2)
        rig.deliver()
        await check

    run(main())


@pytest.mark.parametrize("what", ["new", "changed"])
def test_a_watch_that_hangs_ends_the_process(what: str) -> None:
    async def main() -> None:
        rig = await a_settled_pool()
        if what == "new":
            rig.api.add_pool("new")
        else:
            rig.api.edit(kinds.FLUXPOOL, "demo", kind="FluxPool")
        with pytest.raises(StoppedError, match="the watch of fluxpools hangs: 1 objects are behind, as default/"):
            await make_audit(rig)[0].run(interval_seconds=300)

    run(main())


def test_an_api_server_that_cannot_be_listed_only_postpones_the_audit() -> None:
    class Down(FakeApi):
        async def list_versions(self, kind: Kind, namespace: str | None) -> Listing:
            if now() < 1000:
                raise UnavailableError("list", "connection refused")
            return await super().list_versions(kind, namespace)

    async def main() -> None:
        rig = Rig(Down())
        rig.api.add_pool()
        audit = asyncio.create_task(make_audit(rig)[0].run(interval_seconds=300))
        await asyncio.sleep(999)
        assert not audit.done()
        await asyncio.sleep(500)
        assert isinstance(audit.exception(), StoppedError)

    run(main())


def test_listed_namespaces_are_listed_one_by_one() -> None:
    class Recording(FakeApi):
        asked: list[tuple[str, str | None]]

        async def list_versions(self, kind: Kind, namespace: str | None) -> Listing:
            self.asked.append((kind.name, namespace))
            return Listing(100, [])

    async def main() -> None:
        api = Recording()
        api.asked = []
        await make_audit(Rig(api), ("team-a", "team-b"))[0].first_sync()
        assert {namespace for _, namespace in api.asked} == {"team-a", "team-b"}
        assert len(api.asked) == 2 * 6

    run(main())
