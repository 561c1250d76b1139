"""The cluster under test, as helm and kubectl see it. Helm keeps its own state away from the person's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart.helm import TOP
from chart.kube import create_namespace, delete_namespace, exists, kubectl

LAB_CONTEXT = "fluxpool-lab"
CRD = "fluxpools.fluxpool.dev"
RESTRICTED = "chart-restricted"
"""A namespace in which the Pod Security Standard `restricted` is enforced."""


@pytest.fixture(scope="session", autouse=True)
def helm_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Empty folders for Helm's cache, configuration and data."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="session")
def cluster() -> None:
    """The lab, or a cluster that someone named: these tests make and delete cluster-wide objects."""
    context = kubectl("config", "current-context").strip()
    assert context in {LAB_CONTEXT, os.environ.get("CLUSTER_CONTEXT")}, (
        f"the current context is {context}, not the lab's: CLUSTER_CONTEXT={context} lets the tests change that cluster"
    )


@pytest.fixture(scope="module")
def crd(cluster: None) -> Iterator[Path]:
    """The FluxPool CRD without a chart; one that was there before is left as it is."""
    manifest = TOP / "crds" / f"{CRD}.yaml"
    found = exists("crd", CRD)
    if not found:
        kubectl("create", f"--filename={manifest}")
    kubectl("wait", f"crd/{CRD}", "--for=condition=Established", "--timeout=30s")
    yield manifest
    if not found:
        kubectl("delete", "crd", CRD, "--wait", "--timeout=120s")


@pytest.fixture(scope="session")
def restricted(cluster: None) -> Iterator[str]:
    """The namespace RESTRICTED."""
    create_namespace(RESTRICTED, {"pod-security.kubernetes.io/enforce": "restricted"})
    yield RESTRICTED
    delete_namespace(RESTRICTED)
