import io
from typing import Any

import pytest

from fluxpool_cluster import fake_nodes
from fluxpool_cluster.api import ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import StartError


class Nodes(ApiClient):
    """An API server that knows nodes only; KWOK makes them Ready at once, or never."""

    def __init__(self, *, kwok_works: bool = True) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.kwok_works = kwok_works

    def get(self, path: str) -> Any:
        assert path == "/api/v1/nodes?labelSelector=type%3Dkwok"
        return {"items": list(self.items.values())}

    def create(self, path: str, body: Any) -> Any:
        self.calls.append(f"create {body['metadata']['name']}")
        ready = {"type": "Ready", "status": "True" if self.kwok_works else "Unknown"}
        self.items[body["metadata"]["name"]] = {**body, "status": {**body["status"], "conditions": [ready]}}

    def patch(self, path: str, body: Any, content_type: str) -> Any:
        name = path.split("/")[4]
        self.calls.append(f"patch {name}")
        self.items[name]["status"] |= body["status"]

    def delete(self, path: str) -> None:
        name = path.split("/")[4]
        self.calls.append(f"delete {name}")
        del self.items[name]


def ensure(nodes: Nodes, count: int, **options: Any) -> str:
    stream = io.StringIO()
    fake_nodes.ensure(nodes, count, Console(stream), **options)
    return stream.getvalue()


def test_there_are_exactly_as_many_as_asked_for_whatever_there_was() -> None:
    nodes = Nodes()
    ensure(nodes, 2)
    ensure(nodes, 3)
    assert sorted(nodes.items) == ["fake-0", "fake-1", "fake-2"]
    ensure(nodes, 0)
    assert nodes.items == {}


def test_nodes_that_are_there_get_the_new_number_of_gpus() -> None:
    nodes = Nodes()
    ensure(nodes, 1, gpus=8)
    assert "1 fake nodes with 2 example.com/gpu" in ensure(nodes, 1, gpus=2, resource="example.com/gpu")
    assert nodes.items["fake-0"]["status"]["allocatable"]["example.com/gpu"] == "2"
    assert nodes.calls == ["create fake-0", "patch fake-0"]


def test_kwok_nodes_of_somebody_else_are_left_alone() -> None:
    nodes = Nodes()
    nodes.create("", fake_nodes.fake_node("mine", "nvidia.com/gpu", 1))
    ensure(nodes, 1)
    ensure(nodes, 0)
    assert sorted(nodes.items) == ["mine"]


def test_nodes_that_do_not_become_ready_are_an_error() -> None:
    with pytest.raises(StartError, match="0 of 2 fake nodes are ready after 0 s"):
        ensure(Nodes(kwok_works=False), 2, timeout_seconds=0)


def test_only_pods_that_mean_them_come_to_fake_nodes() -> None:
    node = fake_nodes.fake_node("fake-0", "nvidia.com/gpu", 8)
    assert node["metadata"]["labels"]["type"] == "kwok"
    assert node["spec"]["taints"] == [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
