"""The chart on a real cluster: installed, and installed again."""

import re

import yaml

from chart.helm import helm
from chart.kube import get, kubectl
from e2e.stage import Stage
from fluxpool_demo import install

NAMESPACE = f"--namespace={install.SYSTEM_NAMESPACE}"


async def test_operator_and_prometheus_serve_when_helm_returns(stage: Stage) -> None:
    deployments = {one["metadata"]["name"]: one["status"] for one in get("deployments", NAMESPACE)["items"]}
    assert deployments.keys() == {install.OPERATOR, install.PROMETHEUS}
    assert all(status["readyReplicas"] == status["replicas"] == 1 for status in deployments.values())


async def test_the_notes_name_a_first_pool_that_the_api_server_takes(stage: Stage) -> None:
    notes = helm("get", "notes", install.RELEASE, NAMESPACE)
    pool = re.search(r"kubectl apply .* <<END\n(.*?)\n +END", notes, re.DOTALL)
    assert pool, notes
    told = kubectl("apply", "--dry-run=server", "--validate=strict", given=yaml.safe_load(pool[1]))
    assert "fluxpool.fluxpool.dev/flux created" in told


async def test_an_upgrade_that_changes_nothing_replaces_no_pod(stage: Stage) -> None:
    before = pods()
    await install.install(stage.kube, stage.platform)
    assert pods() == before


def pods() -> dict[str, int]:
    """Restarts by UID of all pods of the chart."""
    return {
        pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in get("pods", NAMESPACE)["items"]
    }
