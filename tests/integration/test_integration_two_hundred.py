"""Two hundred FluxPools: all become Ready with few calls to the API server, and none once nothing changes."""

from collections.abc import Iterator

import pytest

from integration import stage as staging
from integration.api import Api
from integration.audit import counted
from integration.processes import Program
from integration.scale import Settled, settle, watch_at_rest
from integration.stage import Operator, Stage

POOLS = 200
RESYNC_SECONDS = 10
CHILDREN = ("secrets", "deployments", "services", "poddisruptionbudgets")
MOST_STATUS_WRITES = 6
"""Per pool until Ready and measured: made, a pod there, ready, scraped, batch size known, and one to spare."""


@pytest.fixture(scope="module")
def seldom_scraped(stage: Stage, prometheus: Program) -> Iterator[None]:
    """A Prometheus that leaves a busy machine time to answer for two hundred pods before their samples are stale."""
    prometheus.stop()
    another = staging.prometheus(stage, scrape_seconds=5)
    another.start()
    yield
    another.stop()
    staging.prometheus(stage)  # its configuration again
    prometheus.start()


@pytest.fixture(scope="module")
def busy_operator(operator: Operator, seldom_scraped: None) -> Iterator[Operator]:
    """The operator with the chart's scale interval, and a resync that comes soon."""
    operator.restart(scale_interval_seconds=2, resync_seconds=RESYNC_SECONDS)
    yield operator
    operator.restart(**staging.SETTINGS)


@pytest.fixture(scope="module")
def settled(api: Api, namespace: str, busy_operator: Operator) -> Settled:
    return settle(api, namespace, POOLS, seconds=300)


def test_each_pool_is_brought_up_with_one_write_per_child_and_few_of_its_status(settled: Settled) -> None:
    calls = counted(settled.calls)
    for plural in CHILDREN:  # a child that is not there yet is looked for, then written
        assert calls[f"patch {plural}"] == calls[f"get {plural}"] == POOLS
    assert POOLS <= calls["patch fluxpools/status"] <= MOST_STATUS_WRITES * POOLS
    assert not [call for call in settled.calls if call.code >= 400 and call.verb != "get"]


def test_an_operator_at_rest_writes_nothing_over_a_resync_and_stays_small(
    busy_operator: Operator, namespace: str, settled: Settled
) -> None:
    reconciles = busy_operator.metric("fluxpool_operator_reconciles_total")
    rest = watch_at_rest(busy_operator, namespace, RESYNC_SECONDS + 2)
    assert busy_operator.metric("fluxpool_operator_reconciles_total") >= reconciles + POOLS
    assert rest.writes == []
    assert rest.rss_mib <= 150
