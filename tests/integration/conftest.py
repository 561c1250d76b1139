"""The operator as a process, with a real API server, real controllers and a real Prometheus; only the pods are fake."""

import os
from collections.abc import Iterator

import pytest

from chart.kube import kubectl
from fluxpool_cluster import fake_nodes, layout
from fluxpool_cluster.console import Console
from integration import stage as staging
from integration.api import Api, Namespaces
from integration.background import Background
from integration.fake_pods import FakePods, fake_pods
from integration.front import Front, front
from integration.pools import NewPool, Pool
from integration.processes import Program
from integration.stage import Operator, Stage

FAKE_NODES, GPUS_EACH = 4, 64
"""One GPU for every pool of two hundred, and some to spare. Few nodes: each wants its lease renewed in time."""


@pytest.fixture(scope="package")
def api() -> Api:
    """The lab's API server, from inside its namespace, where the addresses of fake pods are."""
    if os.environ.get("CLUSTER", "lab") != "lab":
        pytest.skip("fake pods answer only inside the lab's own network namespace: run without CLUSTER=current")
    context = kubectl("config", "current-context").strip()
    assert context == layout.CONTEXT, f"the current context is {context}: run this inside tools/cluster/run"
    return Api.current()


@pytest.fixture(scope="package")
def namespaces(api: Api, nodes: None) -> Iterator[Namespaces]:
    made = Namespaces(api)
    yield made
    made.end()


@pytest.fixture(scope="package")
def background(api: Api) -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


@pytest.fixture(scope="package")
def nodes(api: Api) -> Iterator[None]:
    fake_nodes.ensure(api.client, FAKE_NODES, Console(), gpus=GPUS_EACH)
    yield
    fake_nodes.ensure(api.client, 0, Console())


@pytest.fixture(scope="package")
def pods(background: Background, nodes: None) -> Iterator[FakePods]:
    with background.hold(fake_pods()) as made:
        yield made


@pytest.fixture(scope="package")
def stage(api: Api, namespaces: Namespaces, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    namespaces.make(staging.NAMESPACE)
    with staging.stage(api, tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="package")
def prometheus(stage: Stage) -> Iterator[Program]:
    program = staging.prometheus(stage)
    program.start()
    yield program
    program.end()


@pytest.fixture(scope="package")
def front_(background: Background, prometheus: Program) -> Iterator[Front]:
    with background.hold(front(staging.PROMETHEUS_URL)) as made:
        yield made


@pytest.fixture(scope="package")
def operator(stage: Stage, pods: FakePods, front_: Front) -> Iterator[Operator]:
    program = staging.operator(stage, **staging.SETTINGS)
    program.start()
    yield program
    program.end()


@pytest.fixture(scope="package", autouse=True)
def unplaced(api: Api, namespaces: Namespaces, operator: Operator) -> Pool:
    """A pool whose pods fit no node; made first of all, since only after a minute that is held to be a problem."""
    return Pool(api, namespaces.make(), "unplaced").create(gpu={"resourceName": "nvidia.com/mig-7g.141gb"})


@pytest.fixture(scope="module")
def namespace(namespaces: Namespaces) -> Iterator[str]:
    name = namespaces.make()
    yield name
    namespaces.drop(name)


@pytest.fixture(scope="module")
def new_pool(api: Api, namespace: str, operator: Operator) -> NewPool:
    """A pool of that name in the module's namespace, which is still to be created."""
    return lambda name: Pool(api, namespace, name)
