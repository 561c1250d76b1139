"""The chart is uninstalled."""

from collections.abc import Sequence

import yaml

from chart.helm import helm
from chart.kube import get, kubectl, wait_for
from e2e.pools import TROUBLE
from e2e.stage import Stage
from fluxpool_demo import install

NAMESPACE = f"--namespace={install.SYSTEM_NAMESPACE}"
CRD = "customresourcedefinition.apiextensions.k8s.io/fluxpools.fluxpool.dev"
OF_THE_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
KINDS = "all,configmaps,secrets,serviceaccounts,roles,rolebindings,endpointslices,leases,poddisruptionbudgets"


async def test_nothing_stays_but_the_kind_and_the_pools_of_it(troubles: Sequence[str], stage: Stage) -> None:
    installed = helm("get", "manifest", install.RELEASE, NAMESPACE)
    helm("uninstall", install.RELEASE, NAMESPACE, "--wait")
    assert names(given=list(yaml.safe_load_all(installed))) == {CRD}
    wait_for("the end of the pods", lambda: names("pods", NAMESPACE) == set())
    assert names(KINDS, NAMESPACE) == OF_THE_NAMESPACE
    pools = get("fluxpools", f"--namespace={TROUBLE}")["items"]
    assert {pool["metadata"]["name"] for pool in pools} >= set(troubles)
    assert all("deletionTimestamp" not in pool["metadata"] for pool in pools)


def names(*arguments: str, given: object = None) -> set[str]:
    return set(kubectl("get", "--ignore-not-found", "--output=name", *arguments, given=given).split())
