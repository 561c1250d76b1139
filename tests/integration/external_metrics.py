"""A stock HorizontalPodAutoscaler on a FluxPool, and the smallest server of external metrics to feed it from."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from chart.kube import get, kubectl
from fluxpool_cluster import layout
from fluxpool_cluster.layout import Layout
from integration.api import Api, Object, wait_for
from integration.pools import Pool
from integration.stage import Stage

GROUP: Final = "external.metrics.k8s.io"
NAME: Final = "fluxpool-test-metrics"
PORT: Final = 16700
PER_REPLICA: Final = 10


@dataclass
class Hpa:
    """The autoscaler under test.

    Attributes:
        pool: which it scales.
        value: what the metric says.
    """

    pool: Pool
    value: int = 0

    def needs(self, replicas: int) -> None:
        """Let the metric call for so many replicas."""
        self.value = replicas * PER_REPLICA

    def complaint(self) -> str:
        """What it says about its attempts to scale."""
        status = get("hpa", self.pool.name, f"--namespace={self.pool.namespace}").get("status", {})
        return " ".join(each["message"] for each in status.get("conditions", ()) if each["type"] == "AbleToScale")


@contextmanager
def external_metrics(stage: Stage, pool: Pool) -> Iterator[Hpa]:
    """An HPA of one to four replicas on the pool, for the length of the block. At first it wants what is there."""
    hpa = Hpa(pool)
    hpa.needs(pool.ready())
    server = _serve(hpa)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    objects = [*_registration(), _autoscaler(pool)]
    kubectl("apply", given=objects)
    try:
        wait_for("the API of external metrics", lambda: _is_served(stage.api))
        yield hpa
    finally:
        kubectl("delete", "--ignore-not-found", given=objects)
        server.shutdown()
        server.server_close()


def _is_served(api: Api) -> bool:
    conditions = api.client.get(f"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.{GROUP}")["status"]["conditions"]
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)


def _serve(hpa: Hpa) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_answer(self.path, hpa.value)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    pki = Layout(layout.state_folder()).pki
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def _answer(path: str, value: int) -> Object:
    parts = path.partition("?")[0].strip("/").split("/")
    if len(parts) <= 3:
        kinds = [
            {
                "name": "queue",
                "singularName": "",
                "namespaced": True,
                "kind": "ExternalMetricValueList",
                "verbs": ["get"],
            }
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/v1beta1", "resources": kinds}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    item = {"metricName": parts[-1], "metricLabels": {}, "timestamp": now, "value": str(value)}
    return {"kind": "ExternalMetricValueList", "apiVersion": f"{GROUP}/v1beta1", "metadata": {}, "items": [item]}


def _registration() -> list[Object]:
    """The API's registration, and the HPA controller's right to read it."""
    rbac = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": NAME, "namespace": "default", "port": PORT},
            },
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME},
            "rules": [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": NAME},
            "subjects": [account],
        },
    ]


def _autoscaler(pool: Pool) -> Object:
    target = {"type": "AverageValue", "averageValue": str(PER_REPLICA)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": pool.name, "namespace": pool.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "fluxpool.dev/v1alpha1", "kind": "FluxPool", "name": pool.name},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}],
        },
    }
