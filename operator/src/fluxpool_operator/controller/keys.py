"""From an object to the pool it concerns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fluxpool_operator import contract
from fluxpool_operator.cluster import Kind, kinds


class PoolKey(NamedTuple):
    """A FluxPool's namespace and name: what the work queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """As kubectl and the logs have it."""
        return f"{self.namespace}/{self.name}"


def row_key(kind: Kind, metadata: Mapping[str, Any]) -> PoolKey:
    """What an object is looked up by: its own name, or for a pod that of its pool."""
    pool = (metadata.get("labels") or {}).get(contract.LABEL_POOL)
    return PoolKey(metadata["namespace"], pool if kind is kinds.POD and pool else metadata["name"])


def pool_of(kind: Kind, key: PoolKey) -> PoolKey:
    """The pool that the object under this key concerns: children are named after it, and the Secret almost."""
    if kind is kinds.SECRET:
        return PoolKey(key.namespace, key.name.removesuffix(contract.ADMIN_SECRET_SUFFIX))
    return key
