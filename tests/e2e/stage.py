"""What every end-to-end test works with: the cluster, fluxpool on it, and the ways to its Services and pods."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from e2e.drive import Drive, driving
from e2e.ledger import Ledger
from e2e.pools import NAMESPACE, POOL
from fluxpool_demo import command, install
from fluxpool_demo.access import Access
from fluxpool_demo.kube import Kube, Object
from fluxpool_demo.observe import POOL_LABEL, Observer
from fluxpool_demo.platform import Platform
from fluxpool_demo.prometheus import Prometheus

HTTP_PORT = 8000
OPERATOR_PORT = 8080


@dataclass(frozen=True)
class Stage:
    """See the module.

    Attributes:
        kube: the API server.
        platform: how fluxpool runs on this cluster.
        access: the way to Services.
        ledger: the count of the whole run.
    """

    kube: Kube
    platform: Platform
    access: Access
    ledger: Ledger

    @asynccontextmanager
    async def prometheus(self) -> AsyncIterator[Prometheus]:
        """The chart's Prometheus."""
        url = await self.access.url(install.SYSTEM_NAMESPACE, install.PROMETHEUS, "http")
        async with httpx.AsyncClient(base_url=url, timeout=5) as http:
            yield Prometheus(http)

    @asynccontextmanager
    async def observing(self) -> AsyncIterator[Observer]:
        """Eyes on the pool that works while the block runs, from before it is there if need be."""
        async with self.prometheus() as prometheus:
            observer = Observer(self.kube, prometheus, NAMESPACE, POOL, started_at=time.monotonic())
            async with observer.watching():
                yield observer

    @asynccontextmanager
    async def driving(self) -> AsyncIterator[Drive]:
        """A load on the pool that works."""
        async with driving(await self.access.url(NAMESPACE, POOL, "http"), self.ledger) as drive:
            yield drive

    async def pods(self, namespace: str = NAMESPACE, pool: str = POOL) -> list[Object]:
        """The pool's pods."""
        return await self.kube.list("Pod", namespace, f"{POOL_LABEL}={pool}")

    async def operator_pod(self) -> Object:
        """The operator's pod, the only one while it is not being replaced."""
        pods = await self.kube.list("Pod", install.SYSTEM_NAMESPACE, "app.kubernetes.io/component=operator")
        (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return pod


async def metrics_of(namespace: str, pod: str, port: int = HTTP_PORT) -> dict[str, float]:
    """What a pod says of itself now, each metric summed over its labels."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics"
    sums: dict[str, float] = {}
    for line in (await command.run("kubectl", "get", "--raw", path)).splitlines():
        if found := re.match(r"([a-z_]+)(?:\{.*\})? (\S+)$", line):
            sums[found[1]] = sums.get(found[1], 0) + float(found[2])
    return sums
