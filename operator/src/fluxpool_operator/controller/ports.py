"""What the controller needs of the outside, as types: the real ones are in `cluster` and `scaling`, tests have others.

Every method that asks the API server raises a `ClusterError` when the answer is not a success.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from fluxpool_operator.api import FluxPool
from fluxpool_operator.cluster import Kind, Listing, Object
from fluxpool_operator.cluster.events import Regarding, Severity
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import PodView


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


class Autoscaler(Protocol):
    """Judges pools by what Prometheus has of them."""

    async def poll(self) -> None:
        """Read the metrics of all pools; never fails."""

    def evaluate(self, pool: FluxPool, pods: Sequence[PodView], current_replicas: int, now: datetime) -> Outcome:
        """The word on one pool, by what was read."""

    def batch_sizes(self, key: tuple[str, str]) -> Mapping[str, int]:
        """What each ready pod of the pool reports to run with, by UID."""

    def forget(self, key: tuple[str, str]) -> None:
        """The pool is gone."""


class BatchPusher(Protocol):
    """Talks to the admin ports of pods."""

    async def converge(
        self, key: tuple[str, str], desired: int, pods: Sequence[PodView], token: str
    ) -> Mapping[str, int]:
        """Tell ready pods the batch size; returns what each is known to run with, by UID. Never fails."""

    def forget(self, key: tuple[str, str]) -> None:
        """The pool is gone."""
