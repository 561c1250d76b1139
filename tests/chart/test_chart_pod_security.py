"""Every pod as shipped is admitted by an API server that enforces the Pod Security Standard `restricted` (dry run)."""

from pathlib import Path
from typing import Any

import pytest

from chart.helm import INSTALL_PROMETHEUS, Object, merged, of_kind, only, render
from chart.kube import KubectlError, kubectl, pod_of
from chart.operator_code import pod_template
from chart.test_examples import FILES, objects_of


def admit(pod: Object) -> None:
    kubectl("create", "--dry-run=server", given=pod)


def chart_pod(component: str, namespace: str) -> Object:
    """A pod of the chart. Its ServiceAccount is not there in a dry run, so it borrows the namespace's default one."""
    template = only(render(INSTALL_PROMETHEUS), "Deployment", component)["spec"]["template"]
    pod = pod_of(component, template, namespace)
    pod["spec"]["serviceAccountName"] = "default"
    return pod


@pytest.mark.parametrize("component", ["operator", "prometheus"])
def test_the_charts_pods_are_admitted(component: str, restricted: str) -> None:
    admit(chart_pod(component, restricted))


def test_a_prometheus_with_token_and_ca_does_not_loosen_the_operators_pod(restricted: str) -> None:
    prometheus = {"url": "https://p", "tokenSecret": {"name": "t"}, "caConfigMap": {"name": "c"}}
    template = only(render({"prometheus": prometheus}), "Deployment", "operator")["spec"]["template"]
    pod = pod_of("operator", template, restricted)
    pod["spec"]["serviceAccountName"] = "default"
    admit(pod)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_pods_of_the_examples_are_admitted(path: Path, restricted: str) -> None:
    objects = objects_of(path)
    pools, jobs = of_kind(objects, "FluxPool"), of_kind(objects, "Job")
    assert pools
    for pool in pools:
        identity = {"namespace": restricted, "uid": "0", "resourceVersion": "1", "generation": 1}
        admit(pod_of(pool["metadata"]["name"], pod_template(merged(pool, {"metadata": identity})), restricted))
    for job in jobs:
        admit(pod_of(job["metadata"]["name"], {"metadata": {}, **job["spec"]["template"]}, restricted))


@pytest.mark.parametrize(
    "loosened",
    [
        {"securityContext": {"runAsNonRoot": False}},
        {"hostNetwork": True},
        {"volumes": [{"name": "usr", "hostPath": {"path": "/usr"}}]},
    ],
    ids=["root", "host network", "host path"],
)
def test_the_namespace_really_refuses_what_is_not_restricted(loosened: Any, restricted: str) -> None:
    pod = chart_pod("operator", restricted)
    with pytest.raises(KubectlError, match='violates PodSecurity "restricted:latest"'):
        admit(merged(pod, {"spec": merged(pod["spec"], loosened)}))
