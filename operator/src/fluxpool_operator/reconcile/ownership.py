"""Whose object lies under a child's name. Only what is ours is written."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from fluxpool_operator import contract
from fluxpool_operator.api import KIND, FluxPool


class Owner(Enum):
    """Relation of a live object to the pool."""

    OURS = auto()
    """The pool controls it, or nobody does and it carries our labels (left by `kubectl delete --cascade=orphan`)."""

    LEAVING = auto()
    """It is being deleted, or will be: it belongs to a former pool of this name."""

    FOREIGN = auto()
    """Somebody else's; it must not be touched."""


def owner_of(live: Mapping[str, Any], pool: FluxPool) -> Owner:
    """To whom `live` belongs, seen from `pool`."""
    metadata = live["metadata"]
    if "deletionTimestamp" in metadata:
        return Owner.LEAVING
    controller = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
    if controller is None:
        return Owner.OURS if _has_our_labels(metadata, pool.name) else Owner.FOREIGN
    if controller["uid"] == pool.metadata.uid:
        return Owner.OURS
    former = controller["kind"] == KIND and controller["name"] == pool.name
    return Owner.LEAVING if former else Owner.FOREIGN


def _has_our_labels(metadata: Mapping[str, Any], name: str) -> bool:
    labels = metadata.get("labels") or {}
    ours = {contract.LABEL_MANAGED_BY: contract.MANAGED_BY, contract.LABEL_POOL: name}
    return ours.items() <= labels.items()
