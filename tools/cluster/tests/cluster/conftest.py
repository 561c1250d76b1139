import os
from collections.abc import Iterator

import pytest
from lab import tool

from fluxpool_cluster import health, layout, machine
from fluxpool_cluster.layout import Layout


@pytest.fixture(scope="session", autouse=True)
def nobody_elses_cluster() -> Iterator[None]:
    """These tests take the machine's one cluster up and down: they refuse to do that to one that is in use."""
    if os.geteuid():
        pytest.exit("the cluster tests need root", returncode=1)
    if machine.load() is not None and not health.problems(Layout(layout.state_folder())):
        pytest.exit("a cluster is up, and these tests would stop it: `make cluster-down` first", returncode=1)
    tool("down")
    yield
    tool("down")
