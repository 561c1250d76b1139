"""How a child is recognised: its names, labels, owner, and what pods of the pool are selected by."""

from collections.abc import Mapping
from typing import Any, Final

from fluxpool_operator import contract
from fluxpool_operator.api import API_VERSION, KIND, FluxPool

Manifest = dict[str, Any]
"""One Kubernetes object as JSON has it."""

FIELD_MANAGER: Final = contract.MANAGED_BY
"""Under this name the operator owns fields by server-side apply."""


def labels(name: str) -> dict[str, str]:
    """The labels of every child and pod of the pool `name`."""
    return {
        contract.LABEL_NAME: contract.NAME,
        contract.LABEL_COMPONENT: contract.COMPONENT,
        contract.LABEL_INSTANCE: name,
        contract.LABEL_MANAGED_BY: contract.MANAGED_BY,
        contract.LABEL_POOL: name,
    }


def selector(name: str) -> dict[str, str]:
    """What selects the pods of the pool `name`."""
    return {contract.LABEL_POOL: name}


def admin_secret_name(name: str) -> str:
    """The Secret with the bearer token of the pods' admin port."""
    return name + contract.ADMIN_SECRET_SUFFIX


def metadata(pool: FluxPool, name: str, extra_labels: Mapping[str, str] | None = None) -> Manifest:
    """Metadata of a child; Kubernetes deletes it after the pool, which it never holds back (no blockOwnerDeletion)."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": pool.name,
        "uid": pool.metadata.uid,
        "controller": True,
    }
    return {
        "name": name,
        "namespace": pool.namespace,
        "labels": {**(extra_labels or {}), **labels(pool.name)},
        "ownerReferences": [owner],
    }
