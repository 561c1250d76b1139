"""How to reach a Service of the cluster from here.

Inside the lab's network namespace ClusterIPs work. From elsewhere requests go through the API server, which picks a
ready pod for each: `kubectl proxy` does the logging in, whatever kind the kubeconfig asks for. (`kubectl port-forward`
would pick one pod for all requests, and further replicas would take no load.)
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from fluxpool_demo.command import ended
from fluxpool_demo.errors import CommandError, DemoError
from fluxpool_demo.kube import Kube, Ref


class Access(Protocol):
    """Tells where Services are."""

    async def url(self, namespace: str, service: str, port: str) -> str:
        """Base URL of a Service's named port, without a slash at the end."""


class ByClusterAddress:
    """From inside the cluster's network."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def url(self, namespace: str, service: str, port: str) -> str:
        """The ClusterIP and the port's number.

        Raises:
            DemoError: there is no such Service or port.
        """
        found = await self._kube.get(Ref("Service", namespace, service))
        ports = {item.get("name", ""): item["port"] for item in found["spec"]["ports"]} if found else {}
        if found is None or port not in ports:
            raise DemoError(f"there is no Service {namespace}/{service} with a port {port}")
        return f"http://{found['spec']['clusterIP']}:{ports[port]}"


class ByProxy:
    """From anywhere, through a `kubectl proxy` on a loopback address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def url(self, namespace: str, service: str, port: str) -> str:
        """The API server's path to the Service."""
        return f"http://{self._address}/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy"


@asynccontextmanager
async def by_proxy() -> AsyncIterator[ByProxy]:
    """Start `kubectl proxy` on a free port, and end it afterwards.

    Raises:
        CommandError: it does not start.
    """
    process = await asyncio.create_subprocess_exec(
        "kubectl", "proxy", "--port=0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with ended(process):
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101 - asked for above
        line = (await process.stdout.readline()).decode()
        address = re.search(r"127\.0\.0\.1:\d+", line)
        if address is None:
            raise CommandError(f"kubectl proxy does not start: {(await process.stderr.read()).decode().strip()}")
        yield ByProxy(address.group())
