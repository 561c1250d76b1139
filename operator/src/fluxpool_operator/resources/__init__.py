"""From a FluxPool to its child objects, as plain dicts and without any IO.

identity     names, labels, owner
environment  variables of the container
pod          the pod template and its revisions
children     Secret, Deployment, Service, PodDisruptionBudget, ServiceMonitor
"""

from fluxpool_operator.resources.children import (
    KINDS,
    admin_secret,
    child_name,
    deployment,
    disruption_budget,
    service,
    service_monitor,
)
from fluxpool_operator.resources.identity import FIELD_MANAGER, Manifest, labels, selector
from fluxpool_operator.resources.pod import LATEST_REVISION, REVISIONS, Basis, pod_template

__all__ = [
    "FIELD_MANAGER",
    "KINDS",
    "LATEST_REVISION",
    "REVISIONS",
    "Basis",
    "Manifest",
    "admin_secret",
    "child_name",
    "deployment",
    "disruption_budget",
    "labels",
    "pod_template",
    "selector",
    "service",
    "service_monitor",
]
