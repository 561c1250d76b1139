"""The chart as a company installs it that has a Prometheus: for two namespaces, with the Prometheus Operator's kind."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from chart.helm import granted, of_kind, render
from chart.kube import get, kubectl
from e2e import audit, companys_prometheus
from e2e.companys_prometheus import MATCHERS, TENANT, TOKEN, Door, values_of
from e2e.pools import broken, spec
from e2e.stage import Stage
from e2e.waiting import answer
from fluxpool_demo import install
from fluxpool_demo.kube import Object, Ref, condition, is_true

SERVING, BESIDES, UNLISTED = "e2e-serving", "e2e-besides", "e2e-unlisted"
LISTED = (SERVING, BESIDES)
POOL = "tiny"
MONITORS = "servicemonitors.monitoring.coreos.com"
CHILDREN = f"deployments,services,secrets,poddisruptionbudgets,{MONITORS}"
TOKEN_SECRET, CA_MAP, CA_KEY = "prometheus-access", "company-ca", "bundle.pem"
VALUES = {
    "watch": {"namespaces": list(LISTED)},
    "prometheus": {
        "install": False,
        "url": companys_prometheus.URL,
        "tokenSecret": {"name": TOKEN_SECRET},
        "caConfigMap": {"name": CA_MAP, "key": CA_KEY},
        "headers": dict([TENANT]),
        "matchers": MATCHERS,
    },
    "serviceMonitor": {
        "enabled": True,
        "labels": {"release": "company"},
        "interval": companys_prometheus.SCRAPE_INTERVAL,
    },
}


@dataclass(frozen=True)
class Company:
    """What there is once all is installed.

    Attributes:
        began_at: before the installation.
        door: what the operator passes to reach Prometheus.
        prometheus: its API, without the door.
    """

    began_at: datetime
    door: Door
    prometheus: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def company(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Company]:
    """Two listed namespaces and one that is not, with a pool in each; the first serves."""
    if not stage.platform.in_cluster_network:
        pytest.skip("only the lab's pods reach a Prometheus of this machine")
    began_at = datetime.now(UTC)
    kubectl("apply", f"--filename={companys_prometheus.MONITOR_DEFINITION}")
    for namespace in (*LISTED, UNLISTED, install.SYSTEM_NAMESPACE):
        await stage.platform.make_namespace(stage.kube, namespace)
    try:
        async with companys_prometheus.door() as door:
            kubectl("apply", given=[*_access(door.authority)])
            await install.install(stage.kube, stage.platform, VALUES)
            await _apply_pools(stage)
            monitors = await answer(_monitors, lambda monitors: len(monitors) == 3, "three ServiceMonitors", 60)
            folder, kubeconfig = tmp_path_factory.mktemp("company"), Path(os.environ["KUBECONFIG"])
            async with companys_prometheus.prometheus(monitors, kubeconfig, folder) as prometheus:
                yield Company(began_at, door, prometheus)
    finally:
        pools = [Ref("FluxPool", namespace, POOL) for namespace in LISTED]
        await asyncio.gather(install.helm_uninstall(), *(stage.kube.delete(pool) for pool in pools))
        namespaces = [Ref("Namespace", None, namespace) for namespace in (*LISTED, UNLISTED)]
        await asyncio.gather(*(stage.kube.delete(namespace) for namespace in namespaces))
        kubectl("delete", f"--filename={companys_prometheus.MONITOR_DEFINITION}")


def _access(authority: bytes) -> list[Object]:
    where = {"namespace": install.SYSTEM_NAMESPACE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**where, "name": TOKEN_SECRET},
            "stringData": {"token": f"{TOKEN}\n"},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**where, "name": CA_MAP},
            "data": {CA_KEY: authority.decode()},
        },
    ]


async def _apply_pools(stage: Stage) -> None:
    model = stage.platform.model
    for namespace, of_pool in ((SERVING, spec(model)), (BESIDES, broken(model)), (UNLISTED, broken(model))):
        await stage.kube.apply(stage.platform.pool(namespace, POOL, of_pool))


async def _monitors() -> list[Object]:
    """The operator's own and those that it makes."""
    return await _items(MONITORS, "--all-namespaces")


async def _items(*arguments: str) -> list[Object]:
    """What kubectl finds, while the door goes on to answer."""
    found = await asyncio.to_thread(get, *arguments)
    return list(found["items"])


async def test_a_pool_of_a_listed_namespace_serves_and_is_measured(company: Company, stage: Stage) -> None:
    pool = await stage.kube.wait(
        Ref("FluxPool", SERVING, POOL),
        lambda pool: is_true(pool, "Ready") and condition(pool, "MetricsAvailable").get("reason") == "Fresh",
        "ready and measured",
        90,
    )
    assert is_true(pool, "MetricsAvailable")
    assert company.door.refused == []
    assert company.door.queries
    assert all(MATCHERS in query for query in company.door.queries)


async def test_pods_and_operator_are_scraped_by_their_service_monitors(company: Company) -> None:
    ((of_pod, ready),) = await values_of(company.prometheus, "fluxpool_ready")
    assert (of_pod["fluxpool_namespace"], of_pod["fluxpool_pool"], ready) == (SERVING, POOL, 1)
    of_operator = await values_of(company.prometheus, "fluxpool_desired_replicas")
    assert {(labels["namespace"], value) for labels, value in of_operator} == {(SERVING, 1), (BESIDES, 1)}


async def test_a_service_monitor_has_the_labels_of_the_chart_and_is_put_right(company: Company) -> None:
    in_besides = (POOL, f"--namespace={BESIDES}")
    assert get(MONITORS, *in_besides)["metadata"]["labels"]["release"] == "company"
    rarely = '{"spec":{"endpoints":[{"port":"http","interval":"1h"}]}}'
    kubectl("patch", MONITORS, *in_besides, "--type=merge", f"--patch={rarely}")
    of_pods = {"port": "http", "path": "/metrics", "interval": companys_prometheus.SCRAPE_INTERVAL}
    await answer(
        lambda: asyncio.to_thread(get, MONITORS, *in_besides),
        lambda monitor: monitor["spec"]["endpoints"] == [of_pods],
        "it to be put right",
        30,
    )


async def test_a_namespace_that_is_not_listed_is_left_alone(company: Company) -> None:
    assert "status" not in get("fluxpool", POOL, f"--namespace={UNLISTED}")
    assert await _items(CHILDREN, f"--namespace={UNLISTED}") == []


async def test_the_operator_does_its_work_by_a_role_in_each_listed_namespace(company: Company, stage: Stage) -> None:
    objects = render(install.merged(stage.platform.helm_values, VALUES))
    roles = of_kind(objects, "Role", "operator")
    assert not of_kind(objects, "ClusterRoleBinding")
    calls = list(audit.calls_of(f"{install.SYSTEM_NAMESPACE}:{install.OPERATOR}", company.began_at))
    assert [call["requestURI"] for call in calls if call["responseStatus"]["code"] == 403] == []
    about_itself = {"selfsubjectaccessreviews"}
    where = {call["objectRef"].get("namespace") for call in calls if call["objectRef"]["resource"] not in about_itself}
    assert where == set(LISTED)
    for role in roles:
        namespace = role["metadata"]["namespace"]
        used = {
            right for call in calls if call["objectRef"].get("namespace") == namespace for right in audit.rights(call)
        }
        of_monitors = {right for right in granted(role) if right[1] == "servicemonitors"}
        assert len(of_monitors) == 5
        assert of_monitors - used == set(), namespace


async def test_the_children_of_a_pool_go_with_it(company: Company, stage: Stage) -> None:
    await stage.kube.delete(Ref("FluxPool", BESIDES, POOL))
    await answer(
        lambda: _items(CHILDREN, f"--namespace={BESIDES}"), lambda left: not left, "the end of its children", 60
    )
