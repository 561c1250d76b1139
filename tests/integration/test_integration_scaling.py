"""Load comes and goes: the batch size first, then replicas, and back; whatever is re-applied or happens next door."""

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest

from e2e.manifests import Manifest
from integration.api import Api, Namespaces, wait_for
from integration.audit import Audit
from integration.background import Background
from integration.fake_pods import FakePods
from integration.pools import NewPool, Numbers, Pool, changes_of, manifest

WITH_LATENCY_TARGET = {"scaling": {"targets": {"latencySeconds": 3}}}
"""The mean request takes 2 s alone and 3.8 s beside another: without load the batch size rests at 1."""
FULL = 24
"""Three replicas' worth of requests."""
FULLEST = 8
"""batching.max, where absent."""
APPLIED = {"by-client": Manifest.client_side, "by-server": Manifest.server_side, "by-helm": Manifest.helm}
"""Three pools, by the way in which people apply them."""
CHANGES = {"ScaledUp", "ScaledDown", "BatchSizeRaised", "BatchSizeLowered"}


@pytest.fixture(scope="module", autouse=True)
def _started(api: Api, new_pool: NewPool, next_door: str, pods: FakePods, manifests: Mapping[str, Manifest]) -> None:
    """All pools of this module at once, so that Prometheus finds their pods in one go."""
    pods.load(new_pool("story").namespace, "story").requests = 1
    new_pool("story").create(**WITH_LATENCY_TARGET)
    new_pool("twin").create()
    Pool(api, next_door, "twin").create(batching={"mode": "Manual", "size": 3})
    for name, apply in APPLIED.items():
        asyncio.run(apply(manifests[name]))


@pytest.fixture(scope="module")
def manifests(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Manifest]:
    """Of the pools that are applied again and again."""
    return {name: Manifest(tmp_path_factory.mktemp(name), manifest(namespace, name)) for name in APPLIED}


@pytest.fixture(scope="module")
def next_door(namespaces: Namespaces) -> Iterator[str]:
    """Another namespace."""
    name = namespaces.make()
    yield name
    namespaces.drop(name)


def test_the_batch_size_goes_up_first_then_replicas_and_both_come_down_with_one_write_and_one_reason_each(
    new_pool: NewPool, pods: FakePods, background: Background
) -> None:
    pool = new_pool("story")
    load = pods.load(pool.namespace, pool.name)
    pool.wait("to rest", lambda pool: pool.desired() == (1, 1) and pods.running(pool.namespace, pool.name) == [1])
    told_before, audit = len(pool.events()), Audit()
    first = pool.pod_names()

    with pool.history(background) as versions:
        load.requests = 4
        pool.wait("to raise its batch size", lambda pool: pods.running(pool.namespace, pool.name) == [FULLEST])
        assert (pool.desired(), pool.pod_names()) == (Numbers(1, FULLEST), first)  # and no pod was touched
        load.requests, load.busy = FULL, 0.95
        pool.wait_for_replicas(3)
        pool.wait("to raise it everywhere", lambda pool: pods.running(pool.namespace, pool.name) == [FULLEST] * 3)
        pool.wait("to say so", lambda pool: pool.status().get("batchSize") == FULLEST)
        load.requests, load.busy = 1, 0.1
        pool.wait_for_replicas(1)
        pool.wait("to rest again", lambda pool: pods.running(pool.namespace, pool.name) == [1])

    changes = changes_of(versions)
    assert [after for _, after in changes][:2] == [(1, FULLEST), (3, FULLEST)]
    assert changes[-1][1] == (1, 1)
    assert all(after <= before for before, after in changes[2:])
    writes = [call for call in audit.writes() if call.resource == "fluxpools/status" and call.name == pool.name]
    assert len(writes) == len(versions) - 1
    said = [note for reason, note in pool.events()[told_before:] if reason in CHANGES]
    assert len(said) == len(changes)
    assert said[0] == f"batch size 1 -> {FULLEST}: 3 requests waiting for a row: {FULLEST} rows needed"
    assert said[1] == "replicas 1 -> 3: queue depth per replica is 24, target 8: 3 replicas needed"
    assert re.match(r"(replicas|batch size) \d -> 1: .+ needed", said[-1])


@contextmanager
def applied_every_second(name: str, manifest: Manifest) -> Iterator[list[str]]:
    """As a GitOps tool would, only more often. The list that it gives has one entry for each time."""
    stop, times = threading.Event(), list[str]()

    def go_on() -> None:
        while not stop.wait(1):
            asyncio.run(APPLIED[name](manifest))
            times.append(name)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def test_a_manifest_applied_every_second_while_pools_scale_changes_nothing(
    new_pool: NewPool, pods: FakePods, background: Background, manifests: Mapping[str, Manifest]
) -> None:
    pools = [new_pool(name) for name in APPLIED]
    for pool in pools:
        pods.wait_until_scraped(pool.namespace, pool.name)
    with ExitStack() as stack:
        histories = [stack.enter_context(pool.history(background)) for pool in pools]
        applied = [stack.enter_context(applied_every_second(name, manifests[name])) for name in APPLIED]
        for requests, replicas in ((FULL, 3), (0, 1)):
            for pool in pools:
                pods.load(pool.namespace, pool.name).requests = requests
            for pool in pools:
                pool.wait_for_replicas(replicas)
        seen = max(len(times) for times in applied)
        wait_for("more to be applied", lambda: min(len(times) for times in applied) > seen + 2)
    for pool, versions in zip(pools, histories, strict=True):
        numbers = [after.replicas or 0 for _, after in changes_of(versions)]
        assert numbers == [3, *sorted(numbers[1:], reverse=True)]  # up at once, and down without a way back
        assert {version["metadata"]["generation"] for version in versions} == {1}
        assert pool.deployed() == 1


def test_pools_of_one_name_in_two_namespaces_do_not_disturb_each_other(
    api: Api, new_pool: NewPool, next_door: str, pods: FakePods, background: Background
) -> None:
    ours, theirs = new_pool("twin"), Pool(api, next_door, "twin")
    for pool in (ours, theirs):
        pods.wait_until_scraped(pool.namespace, "twin")
    wait_for("their size to be pushed", lambda: pods.running(next_door, "twin") == [3])
    before = theirs.pod_names()
    with theirs.history(background) as versions:
        pods.load(ours.namespace, ours.name).requests = FULL
        ours.wait_for_replicas(3)
        pods.load(ours.namespace, ours.name).requests = 0
        ours.wait_for_replicas(1)
    assert {version["status"]["desired"]["replicas"] for version in versions} == {1}
    assert theirs.pod_names() == before
    assert list(pods.told(next_door, "twin").values()) == [[3]]
    secrets = [api.get(pool.child("Secret")) or {} for pool in (ours, theirs)]
    assert secrets[0]["data"] != secrets[1]["data"]
    assert pods.running(ours.namespace, "twin") == [FULLEST]
    assert [pods.refused(pool.namespace, pool.name) for pool in (ours, theirs)] == [[], []]
