"""Fake nodes of KWOK: real objects whose pods are Ready at once and run nowhere.

They are tainted, so that only pods that mean them come to them:

    nodeSelector: {type: kwok}
    tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]

The fake pods' addresses (10.245.0.0/16) are local inside the namespace: a server there on 0.0.0.0 answers for all.
"""

import time
from typing import Any

from fluxpool_cluster.api import MERGE_PATCH, ApiClient
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import StartError

LABEL = {"type": "kwok"}
TAINT_KEY = "kwok.x-k8s.io/node"
_NODES = "/api/v1/nodes"
_PREFIX = "fake-"
_POLL_SECONDS = 0.2


def ensure(
    client: ApiClient,
    count: int,
    console: Console,
    *,
    gpus: int = 8,
    resource: str = "nvidia.com/gpu",
    timeout_seconds: float = 120,
) -> None:
    """Have exactly `count` fake nodes (fake-0, fake-1, …) with `gpus` of the resource each, all of them Ready.

    Raises:
        StartError: they are not Ready in time.
    """
    wanted = {f"{_PREFIX}{number}" for number in range(count)}
    present = {item["metadata"]["name"] for item in _list(client)}
    for name in sorted(present - wanted):
        client.delete(f"{_NODES}/{name}")
    for name in sorted(present & wanted):
        resources = {"status": {"capacity": {resource: str(gpus)}, "allocatable": {resource: str(gpus)}}}
        client.patch(f"{_NODES}/{name}/status", resources, MERGE_PATCH)
    for name in sorted(wanted - present):
        client.create(_NODES, fake_node(name, resource, gpus))
    deadline = time.monotonic() + timeout_seconds
    while (ready := sum(map(_is_ready, _list(client)))) != count:
        if time.monotonic() > deadline:
            raise StartError(f"{ready} of {count} fake nodes are ready after {timeout_seconds:g} s")
        time.sleep(_POLL_SECONDS)
    console.say(f"{count} fake nodes with {gpus} {resource} each are ready")


def fake_node(name: str, resource: str, gpus: int) -> dict[str, Any]:
    """The Node object that KWOK takes charge of."""
    resources = {"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "1Ti", resource: str(gpus)}
    labels = {**LABEL, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    annotations = {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"taints": [{"key": TAINT_KEY, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": resources, "allocatable": resources},
    }


def _list(client: ApiClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"{_NODES}?labelSelector=type%3Dkwok")["items"]
    return [item for item in items if item["metadata"]["name"].startswith(_PREFIX)]


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = item["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
