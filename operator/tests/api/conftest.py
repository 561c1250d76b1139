"""The real API server with the CRD, for the tests that need one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from api.kubectl import Namespace, kubectl, require_permission

from fluxpool_operator.api import crd

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def installed() -> Iterator[None]:
    """The CRD as committed; taken away again unless it was there before (a chart may own it)."""
    require_permission()
    was_there = bool(kubectl("get", "crd", "--ignore-not-found", "-o", "name", crd.CRD_NAME))
    if not was_there:
        kubectl("apply", "--server-side", "-f", str(ROOT / crd.MANIFEST))
    kubectl("wait", "--for=condition=Established", f"crd/{crd.CRD_NAME}", "--timeout=30s")
    yield
    if not was_there:
        kubectl("delete", "crd", crd.CRD_NAME)


@pytest.fixture(scope="session")
def namespace(installed: None) -> Iterator[Namespace]:
    name = f"operator-api-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield Namespace(name)
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def name() -> str:
    return f"pool-{uuid.uuid4().hex[:8]}"
