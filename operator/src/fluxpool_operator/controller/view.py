"""The cluster as far as this process knows it: one table per watched kind.

Every object is read once, when its event arrives; ticks and workers only look it up.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from fluxpool_operator.api import FluxPool, UnreadableFluxPool, read
from fluxpool_operator.cluster import kinds
from fluxpool_operator.cluster.client import Object
from fluxpool_operator.cluster.kinds import Kind
from fluxpool_operator.controller.keys import PoolKey, key_of
from fluxpool_operator.controller.table import Seen, Table
from fluxpool_operator.resources import child_name
from fluxpool_operator.world import DeploymentView, PodView

Pool: TypeAlias = FluxPool | UnreadableFluxPool
Row: TypeAlias = tuple[PoolKey, Seen[Any]]


class View:
    """See the module.

    Args:
        watched: the kinds to have tables of; FluxPool and Pod are always among them.
        clock: monotonic seconds.
    """

    def __init__(self, watched: Iterable[Kind], clock: Callable[[], float] = time.monotonic) -> None:
        self.pools: Table[Pool] = Table(clock)
        self._pods: Table[PodView] = Table(clock)
        own = (kinds.FLUXPOOL, kinds.POD)
        self._children: dict[Kind, Table[Object]] = {kind: Table(clock) for kind in watched if kind not in own}

    @property
    def tables(self) -> dict[Kind, Table[Any]]:
        """Every table, by kind."""
        return {kinds.FLUXPOOL: self.pools, kinds.POD: self._pods, **self._children}

    # ---- reading ----------------------------------------------------------------------------------------------------

    def children(self, key: PoolKey) -> dict[str, Object]:
        """What lies under the names of the pool's children, by kind, whoever owns it."""
        found = {kind.name: self.child(kind, key) for kind in self._children}
        return {kind: child for kind, child in found.items() if child is not None}

    def child(self, kind: Kind, key: PoolKey) -> Object | None:
        """One of them."""
        seen = self._children[kind].get(_child_key(kind, key))
        return seen.value if seen else None

    def pods(self, key: PoolKey) -> tuple[PodView, ...]:
        """The pool's pods, oldest first."""
        deployment = self.child(kinds.DEPLOYMENT, key)
        current = DeploymentView.of(deployment).template_hash if deployment else ""
        pods = (seen.value for seen in self._pods.all(key))
        marked = (replace(pod, current_template=bool(current) and pod.template_hash == current) for pod in pods)
        return tuple(sorted(marked, key=lambda pod: (pod.created_at, pod.name)))

    def unsettled_seconds(self, key: PoolKey) -> float | None:
        """In how many seconds the last write that the watch does not show yet is given up; None if it shows all."""
        left = [self.pools.unsettled_seconds(key)]
        left += [table.unsettled_seconds(_child_key(kind, key)) for kind, table in self._children.items()]
        return max((seconds for seconds in left if seconds is not None), default=None)

    # ---- our own writes ---------------------------------------------------------------------------------------------

    def wrote(self, kind: Kind, body: Object) -> None:
        """The API server answered that the object is now this; also of one found that the watch cannot see."""
        key, seen = row_of(kind, body)
        self.tables[kind].wrote(key, seen)

    def deleted(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """The API server answered that it deletes this child."""
        self._children[kind].deleted(PoolKey(namespace, name), uid)


def row_of(kind: Kind, body: Object) -> Row:
    """The row of one object: what is read from it, under the pool's key for a pod and under its own name otherwise."""
    metadata = body["metadata"]
    key = PoolKey(metadata["namespace"], metadata["name"])
    if kind is kinds.POD:
        key = key_of(kind, metadata) or key
    return key, Seen(metadata["uid"], int(metadata["resourceVersion"]), _read(kind, body))


def _read(kind: Kind, body: Object) -> Pool | PodView | Object:
    if kind is kinds.FLUXPOOL:
        return read(body)
    if kind is kinds.POD:
        return PodView.of(body, "")  # whether its template is current is known only beside the Deployment
    return body


def _child_key(kind: Kind, key: PoolKey) -> PoolKey:
    return PoolKey(key.namespace, child_name(kind.name, key.name))
