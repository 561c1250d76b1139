"""The children of a pool: Secret, Deployment, Service, PodDisruptionBudget and, if wanted, ServiceMonitor.

Each function states the fields that are the operator's, and no others: what it leaves out is Kubernetes' default or
belongs to whoever sets it.
"""

import base64
from collections.abc import Mapping
from typing import Final

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool
from fluxpool_operator.resources.identity import Manifest, admin_secret_name, metadata, selector
from fluxpool_operator.resources.pod import START_SECONDS
from fluxpool_operator.world import MonitorSettings

KINDS: Final[Mapping[str, str]] = {
    "Secret": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "PodDisruptionBudget": "policy/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}
"""API version by kind, in the order of creation: pods mount the Secret."""


def child_name(kind: str, pool_name: str) -> str:
    """Under which name the pool has its child of that kind."""
    return admin_secret_name(pool_name) if kind == "Secret" else pool_name


def admin_secret(pool: FluxPool, token: str) -> Manifest:
    """The bearer token of the admin port; the token is made once and then kept."""
    return {
        **_head("Secret", pool),
        "type": "Opaque",
        "data": {contract.ADMIN_SECRET_KEY: base64.b64encode(token.encode()).decode()},
    }


def deployment(pool: FluxPool, replicas: int, template: Manifest, annotations: Mapping[str, str]) -> Manifest:
    """The pods: `replicas` of `template`, replaced as `spec.rollout` says."""
    manifest = _head("Deployment", pool)
    manifest["metadata"]["annotations"] = dict(annotations)
    rollout = pool.spec.rollout
    manifest["spec"] = {
        "replicas": replicas,
        "selector": {"matchLabels": selector(pool.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable},
        },
        # Longer than a pod may take to start, else a large model looks like a failed rollout.
        "progressDeadlineSeconds": START_SECONDS + 600,
        "revisionHistoryLimit": 3,
        "template": template,
    }
    return manifest


def service(pool: FluxPool) -> Manifest:
    """The endpoint: ready pods only, spread as the cluster does by default."""
    return {
        **_head("Service", pool),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(pool.name),
            "ports": [
                {
                    "name": contract.HTTP_PORT_NAME,
                    "port": contract.SERVICE_PORT,
                    "targetPort": contract.HTTP_PORT_NAME,
                    "protocol": "TCP",
                    "appProtocol": "http",
                }
            ],
            "publishNotReadyAddresses": False,
        },
    }


def disruption_budget(pool: FluxPool) -> Manifest:
    """One pod at a time may be evicted; a pool of one may be drained too, and a broken pod holds up no drain."""
    return {
        **_head("PodDisruptionBudget", pool),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(pool.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def service_monitor(pool: FluxPool, settings: MonitorSettings) -> Manifest:
    """How a Prometheus operator's Prometheus scrapes the pods."""
    return {
        **_head("ServiceMonitor", pool, settings.labels),
        "spec": {
            "selector": {"matchLabels": selector(pool.name)},
            "endpoints": [
                {
                    "port": contract.HTTP_PORT_NAME,
                    "path": contract.PATH_METRICS,
                    "interval": settings.interval,
                }
            ],
        },
    }


def _head(kind: str, pool: FluxPool, extra_labels: Mapping[str, str] | None = None) -> Manifest:
    name = child_name(kind, pool.name)
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata(pool, name, extra_labels)}
