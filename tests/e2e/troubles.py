"""Pools that cannot work, each for another reason."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from chart.kube import get, kubectl
from e2e.pools import SPARE, SPARES, TROUBLE, broken
from e2e.stage import Stage
from e2e.waiting import answer
from fluxpool_demo.kube import Object, Ref

NO_GPU = "e2e.fluxpool.dev/no-gpu"
"""A resource that no node has."""
NO_IMAGE = "localhost:1/nowhere:none"
NO_VOLUME = {"volumeMounts": [{"name": "nothing", "mountPath": "/nothing"}]}

POOLS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "crash": broken,
    "image": lambda model: broken(model, template={"image": NO_IMAGE, "imagePullPolicy": "IfNotPresent"}),
    "rollout": broken,
    "gpus": lambda model: broken(model, gpu={"resourceName": NO_GPU}),
    "refused": lambda model: broken(model, template=NO_VOLUME),
}


class SpareGpus:
    """Devices of the first node that has GPUs, under a name of their own."""

    @contextmanager
    def offered(self) -> Iterator["SpareGpus"]:
        """They are there while the block runs."""
        nodes = get("nodes", "--selector=type!=kwok")["items"]
        node = next(node["metadata"]["name"] for node in nodes if "nvidia.com/gpu" in node["status"]["capacity"])
        self._set(node, str(SPARES))
        yield self
        self._set(node, None)

    def _set(self, node: str, count: str | None) -> None:
        """As a device plugin would have the kubelet do."""
        change = json.dumps({"status": {"capacity": {SPARE: count}}})
        kubectl("patch", "node", node, "--subresource=status", "--type=merge", f"--patch={change}")


async def apply_troubles(stage: Stage) -> Sequence[str]:
    """Apply all of them, and change the spec of one that is to be rolled out."""
    await stage.platform.make_namespace(stage.kube, TROUBLE)
    for name, spec in POOLS.items():
        await stage.kube.apply(stage.platform.pool(TROUBLE, name, spec(stage.platform.model)))
    await answer(
        lambda: stage.pods(TROUBLE, "rollout"),
        lambda pods: pods and all("nodeName" in pod["spec"] for pod in pods),
        "a node for the pod of the pool that is to be rolled out",
        30,
    )
    another = {"env": [{"name": "PYTHONHOME", "value": "/elsewhere"}]}
    await stage.kube.patch(Ref("FluxPool", TROUBLE, "rollout"), {"spec": {"template": another}})
    return list(POOLS)


async def renumber_a_port(stage: Stage) -> tuple[Object, Object]:
    """Give the port of a pool's Service another number, which no write can take back. Returns it as it was and is."""
    service = Ref("Service", TROUBLE, "refused")

    async def found() -> Object | None:
        return await stage.kube.get(service)

    before = await answer(found, bool, "a Service of the pool", 30)
    assert before is not None
    await stage.kube.patch(service, {"spec": {"ports": [{**before["spec"]["ports"][0], "port": 8080}]}})

    def anew(now: Object | None) -> bool:
        return now is not None and now["metadata"]["uid"] != before["metadata"]["uid"]

    after = await answer(found, anew, "another Service in its place", 30)
    assert after is not None
    return before, after


def warning_events(pool: str, reason: str) -> list[Object]:
    """Warnings about a pool, as `kubectl describe` shows them."""
    regarding = f"--field-selector=regarding.kind=FluxPool,regarding.name={pool},reason={reason},type=Warning"
    return list(get("events.v1.events.k8s.io", f"--namespace={TROUBLE}", regarding)["items"])


async def repeat_an_event(stage: Stage) -> Sequence[Object]:
    """Make the operator try again what the API server refuses, until it has counted that in an event.

    It tries again when anything happens to the pool, and counts once a minute at most. Returns the events.
    """

    async def touched() -> list[Object]:
        change = {"metadata": {"annotations": {"e2e/touched-at": str(time.monotonic())}}}
        await stage.kube.patch(Ref("FluxPool", TROUBLE, "refused"), change)
        return warning_events("refused", "Refused")

    return await answer(touched, lambda events: any("series" in event for event in events), "a count", 90)
