"""Prometheus fails in every way it can: no pool shrinks, its condition says which, and all is well when it is back."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from integration.api import wait_for
from integration.fake_pods import FakePods
from integration.front import Answer, Front, asks_for_a_token, fails, knows_nothing
from integration.pools import NewPool, Pool
from integration.processes import Program, fetch
from integration.stage import PROMETHEUS_URL, SCRAPED_TWICE, Operator

FULL = 24
"""Three replicas' worth of requests."""
SOME_LOOKS = 8
"""Twice as many as the scale-down window is long: what would move, has moved by then."""


@dataclass(frozen=True)
class Wiring:
    """What can be broken."""

    front: Front
    prometheus: Program
    pods: FakePods


Break = Callable[[Wiring, Pool], AbstractContextManager[None]]


def answering(answer: Answer) -> Break:
    @contextmanager
    def spoilt(wiring: Wiring, _: Pool) -> Iterator[None]:
        wiring.front.answer = answer
        try:
            yield
        finally:
            wiring.front.answer = None

    return spoilt


@contextmanager
def stopped(wiring: Wiring, _: Pool) -> Iterator[None]:
    wiring.prometheus.stop()
    try:
        yield
    finally:
        wiring.prometheus.start()


@contextmanager
def nan(wiring: Wiring, pool: Pool) -> Iterator[None]:
    load = wiring.pods.load(pool.namespace, pool.name)
    load.waiting_is_nan = True
    try:
        yield
    finally:
        load.waiting_is_nan = False


@contextmanager
def old(wiring: Wiring, pool: Pool) -> Iterator[None]:
    wiring.front.old.add((pool.namespace, pool.name))
    try:
        yield
    finally:
        wiring.front.old.clear()


@contextmanager
def without(wiring: Wiring, pool: Pool) -> Iterator[None]:
    wiring.front.without.add((pool.namespace, pool.name))
    try:
        yield
    finally:
        wiring.front.without.clear()


# A sentence counts the pods of the moment of its transition, when some may still be too new to be missed; so the words
# leave out how many, where that moment may be this near to the start of the pods.
OF_ALL: dict[str, tuple[Break, str, str]] = {
    "internal-error": (answering(fails), "QueryError", "answered 500"),
    "unauthorized": (answering(asks_for_a_token), "Unauthorized", "answered 401"),
    "stopped": (stopped, "PrometheusUnreachable", "cannot be reached"),
    "empty": (answering(knows_nothing), "MetricsMissing", "of 3 ready pods have no series in Prometheus"),
}
OF_ONE: dict[str, tuple[Break, str, str]] = {
    "nan": (nan, "MetricsMissing", "of 3 ready pods give NaN, or nothing, for a metric that scaling needs"),
    "stale": (old, "MetricsStale", "3 of 3 ready pods have only metrics older than 3 s, three scrapes"),
    "lost": (without, "MetricsMissing", "3 of 3 ready pods have no series in Prometheus"),
}


@pytest.fixture(scope="module")
def wiring(front_: Front, prometheus: Program, pods: FakePods) -> Wiring:
    return Wiring(front_, prometheus, pods)


@pytest.fixture(scope="module", autouse=True)
def _at_three_replicas(new_pool: NewPool, pods: FakePods) -> None:
    """Pools that need their three replicas, and may have fewer."""
    pools = [new_pool(name) for name in (*OF_ALL, *OF_ONE, "well")]
    for pool in pools:
        pods.load(pool.namespace, pool.name).requests = FULL
        pool.create(scaling={"minReplicas": 3}, batching={"mode": "Manual", "size": 1})
    pods.load(pools[0].namespace, "twice").requests = 16
    new_pool("twice").create(template={"labels": {SCRAPED_TWICE: "yes"}})
    for pool in pools:
        pods.wait_until_scraped(pool.namespace, pool.name, 3)
        pool.change(scaling={"minReplicas": 1})


def assert_held(pool: Pool, reason: str, words: str) -> None:
    """It stays at three replicas and says why.

    Conditions are written once in ten seconds; but with a new batch size, which is written at once, comes all the rest.
    """
    pool.change(batching={"size": 2})
    pool.wait("to have the new batch size", lambda pool: pool.desired().batch_size == 2)
    available, active = pool.wait_for_metrics("False", reason), pool.condition("ScalingActive")
    assert words in available.message
    assert active is not None
    assert active[:2] == ("False", "MetricsUnavailable")
    assert active.message.startswith("replicas stay at 3: ")
    assert (pool.desired().replicas, pool.deployed(), pool.ready()) == (3, 3, 3)


@pytest.mark.parametrize("name", OF_ALL)
def test_no_pool_shrinks_while_prometheus_is_out_and_the_condition_says_why(
    name: str, wiring: Wiring, new_pool: NewPool, operator: Operator
) -> None:
    broken, reason, words = OF_ALL[name]
    pool = new_pool(name)
    before = pool.pod_names()
    with broken(wiring, pool):
        wiring.pods.load(pool.namespace, pool.name).requests = 0
        operator.wait_for_ticks(SOME_LOOKS)
        assert_held(pool, reason, words)
        assert pool.pod_names() == before
    pool.wait_for_replicas(1)
    pool.wait_for_metrics()


def test_an_idle_pool_scales_in_while_those_whose_series_are_nan_stale_or_lost_do_not(
    wiring: Wiring, new_pool: NewPool, operator: Operator
) -> None:
    well, pools = new_pool("well"), {name: new_pool(name) for name in OF_ONE}
    with ExitStack() as stack:
        for name, pool in pools.items():
            stack.enter_context(OF_ONE[name][0](wiring, pool))
        operator.wait_for_ticks(4)  # NaN has to be scraped before the load may go
        for pool in (well, *pools.values()):
            wiring.pods.load(pool.namespace, pool.name).requests = 0
        well.wait_for_replicas(1)
        operator.wait_for_ticks(SOME_LOOKS)
        for name, pool in pools.items():
            assert_held(pool, *OF_ONE[name][1:])
    for pool in pools.values():
        pool.wait_for_replicas(1)
        pool.wait_for_metrics()


def test_a_pod_that_two_jobs_scrape_counts_once(wiring: Wiring, new_pool: NewPool, operator: Operator) -> None:
    pool = new_pool("twice")
    pool.wait_for_replicas(2)
    wait_for("both jobs to scrape both pods", lambda: _series_of(pool) == 4)
    operator.wait_for_ticks(SOME_LOOKS)
    assert (pool.desired().replicas, pool.deployed()) == (2, 2)
    pool.wait_for_metrics()
    wiring.pods.load(pool.namespace, pool.name).requests = 0
    pool.wait_for_replicas(1)


def _series_of(pool: Pool) -> int:
    query = quote(f'fluxpool_ready{{fluxpool_namespace="{pool.namespace}",fluxpool_pool="{pool.name}"}}')
    return len(json.loads(fetch(f"{PROMETHEUS_URL}/api/v1/query?query={query}") or "")["data"]["result"])
