"""What the controller needs of the outside, as types: the real ones are in `cluster` and `scaling`, tests have others.

Every method that asks the API server raises a `ClusterError` when the answer is not a success.
"""

from typing import Protocol

from fluxpool_operator.cluster import Kind, Listing, Object
from fluxpool_operator.cluster.events import Regarding, Severity


class Writes(Protocol):
    """Objects of the cluster, one at a time."""

    async def read(self, kind: Kind, namespace: str, name: str) -> Object:
        """The object as it is now."""

    async def apply(self, manifest: Object) -> Object:
        """Make the object as stated; returns it as it is now."""

    async def patch_status(self, namespace: str, name: str, resource_version: str, status: Object) -> Object:
        """Merge into the status of a FluxPool, if it is still at that version; returns it as it is now."""

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete exactly that object."""


class Events(Protocol):
    """Kubernetes events on a FluxPool."""

    async def record(self, regarding: Regarding, severity: Severity, reason: str, action: str, note: str) -> None:
        """Say `note`; never fails."""


class Lister(Protocol):
    """Objects of the cluster, all of one kind."""

    async def list_versions(self, kind: Kind, namespace: str | None) -> Listing:
        """Name and version of each, in that namespace (None: in all)."""


class Reviewer(Protocol):
    """What the cluster offers, and what the operator may do there."""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API server knows the kind."""

    async def allowed(self, verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> bool:
        """Whether RBAC lets the operator do that."""
