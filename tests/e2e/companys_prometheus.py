"""A Prometheus that was there before fluxpool: behind TLS of the company's own, for those who have a token.

It is real. What the Prometheus Operator would do, make scrape jobs of ServiceMonitors, is done here; a door in front of
it has the certificate and asks for the token and for the tenant's header.
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
import trustme
from aiohttp import web

from e2e.waiting import answer
from fluxpool_cluster import layout, paths
from fluxpool_demo.kube import Object

PORT: Final = 19092
DOOR_PORT: Final = 19493
URL: Final = f"https://{layout.NODE_ADDRESS}:{DOOR_PORT}/tenants/a"
"""Where pods reach it, with a path in front of the API's."""
TOKEN: Final = "let-me-in"
TENANT: Final = ("X-Scope-OrgID", "team-a")
MATCHERS: Final = 'cluster="eu-1"'
SCRAPE_INTERVAL: Final = "1s"
MONITOR_DEFINITION: Final = Path(__file__).with_name("servicemonitors.yaml")


@dataclass
class Door:
    """What stands in front, and what it was asked.

    Attributes:
        authority: PEM of the certificate authority that its certificate is of.
        refused: answers to those that were not let in.
        queries: what those asked that were.
    """

    authority: bytes
    upstream: httpx.AsyncClient
    refused: list[HTTPStatus] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    async def query(self, request: web.Request) -> web.Response:
        """`POST <path of URL>/api/v1/query`."""
        header, tenant = TENANT
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(HTTPStatus.UNAUTHORIZED)
        if request.headers.get(header) != tenant:
            return self._refuse(HTTPStatus.FORBIDDEN)
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.queries.append(form["query"])
        try:
            found = await self.upstream.post("/api/v1/query", data=form)
        except httpx.TransportError:
            return web.Response(status=HTTPStatus.BAD_GATEWAY)
        return web.Response(status=found.status_code, body=found.content, content_type="application/json")

    def _refuse(self, status: HTTPStatus) -> web.Response:
        self.refused.append(status)
        return web.Response(status=status)


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    """Listen at URL; behind it nothing answers yet."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(layout.NODE_ADDRESS).configure_cert(context)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as upstream:
        made = Door(authority.cert_pem.bytes(), upstream)
        app = web.Application()
        app.add_routes([web.post("/tenants/a/api/v1/query", made.query)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, layout.NODE_ADDRESS, DOOR_PORT, ssl_context=context).start()
        try:
            yield made
        finally:
            await runner.cleanup()


@asynccontextmanager
async def prometheus(monitors: Sequence[Object], kubeconfig: Path, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Scrape what these ServiceMonitors select, under the cluster's name. Gives its API, without the door."""
    jobs = [scrape_job(monitor, str(kubeconfig)) for monitor in monitors]
    file = folder / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": jobs}))
    argv = (
        str(paths.binaries_folder() / "prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
        "--log.level=warn",
    )
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}") as http:
            await answer(lambda: _is_ready(http), bool, "Prometheus to be ready", 30)
            yield http
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/-/ready")).is_success
    except httpx.TransportError:
        return False


def scrape_job(monitor: Object, kubeconfig: str) -> Object:
    """The job that the Prometheus Operator makes of a ServiceMonitor with one endpoint."""
    namespace, name = monitor["metadata"]["namespace"], monitor["metadata"]["name"]
    (endpoint,) = monitor["spec"]["endpoints"]
    kept = {f"service_label_{_meta(key)}": value for key, value in monitor["spec"]["selector"]["matchLabels"].items()}
    kept["endpointslice_port_name"] = endpoint["port"]
    named = {"namespace": "namespace", "service_name": "service", "pod_name": "pod"}
    return {
        "job_name": f"serviceMonitor/{namespace}/{name}/0",
        "honor_labels": endpoint.get("honorLabels", False),
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "metrics_path": endpoint.get("path", "/metrics"),
        "kubernetes_sd_configs": [
            {"role": "endpointslice", "kubeconfig_file": kubeconfig, "namespaces": {"names": [namespace]}}
        ],
        "relabel_configs": [
            *({"action": "keep", "source_labels": [_label(key)], "regex": value} for key, value in kept.items()),
            *({"source_labels": [_label(key)], "target_label": label} for key, label in named.items()),
            {"target_label": "cluster", "replacement": MATCHERS.split('"')[1]},
        ],
    }


def _label(key: str) -> str:
    return f"__meta_kubernetes_{key}"


def _meta(key: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", key)


async def values_of(http: httpx.AsyncClient, query: str) -> list[tuple[dict[str, Any], float]]:
    """Labels and value of each series that a query finds."""
    found = (await http.post("/api/v1/query", data={"query": query})).json()["data"]["result"]
    return [(series["metric"], float(series["value"][1])) for series in found]
