"""From an object to the pool it concerns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fluxpool_operator import contract
from fluxpool_operator.cluster import kinds
from fluxpool_operator.cluster.kinds import Kind


class PoolKey(NamedTuple):
    """A FluxPool's namespace and name: what the work queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """As kubectl and the logs have it."""
        return f"{self.namespace}/{self.name}"


def key_of(kind: Kind, metadata: Mapping[str, Any]) -> PoolKey | None:
    """The pool an object concerns: by its label for a pod, by its name for a child; None if it concerns none."""
    namespace, name = metadata["namespace"], metadata["name"]
    if kind is kinds.POD:
        pool = (metadata.get("labels") or {}).get(contract.LABEL_POOL)
        return PoolKey(namespace, pool) if pool else None
    if kind is kinds.SECRET:
        pool = name.removesuffix(contract.ADMIN_SECRET_SUFFIX)
        return PoolKey(namespace, pool) if pool != name else None
    return PoolKey(namespace, name)
