"""The cluster as far as this process knows it: one table per watched kind.

Every object is read once, when its event arrives; ticks and workers only look it up.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from fluxpool_operator.api import FluxPool, UnreadableFluxPool, read
from fluxpool_operator.cluster import Kind, Object, kinds
from fluxpool_operator.controller.keys import PoolKey, row_key
from fluxpool_operator.controller.table import Row, Table
from fluxpool_operator.resources import child_name
from fluxpool_operator.world import DeploymentView, PodView

Pool: TypeAlias = FluxPool | UnreadableFluxPool


class View:
    """See the module.

    Args:
        children: the kinds of children there may be.
        clock: monotonic seconds.
    """

    def __init__(self, children: Iterable[Kind], clock: Callable[[], float] = time.monotonic) -> None:
        self.pools: Table[Pool] = Table(clock)
        self._pods: Table[PodView] = Table(clock)
        self._children: dict[Kind, Table[Object]] = {kind: Table(clock) for kind in children}
        self.tables: dict[Kind, Table[Any]] = {kinds.FLUXPOOL: self.pools, kinds.POD: self._pods, **self._children}

    # ---- reading ----------------------------------------------------------------------------------------------------

    def children(self, key: PoolKey) -> dict[str, Object]:
        """What lies under the names of the pool's children, by kind, whoever owns it."""
        found = {kind.name: self.child(kind, key) for kind in self._children}
        return {kind: child for kind, child in found.items() if child is not None}

    def child(self, kind: Kind, key: PoolKey) -> Object | None:
        """One of them."""
        row = self._children[kind].get(PoolKey(key.namespace, child_name(kind.name, key.name)))
        return row.value if row else None

    def pods(self, key: PoolKey) -> tuple[PodView, ...]:
        """The pool's pods, oldest first."""
        deployment = self.child(kinds.DEPLOYMENT, key)
        current = DeploymentView.of(deployment).template_hash if deployment else ""
        pods = (row.value for row in self._pods.all(key))
        marked = (replace(pod, current_template=bool(current) and pod.template_hash == current) for pod in pods)
        return tuple(sorted(marked, key=lambda pod: (pod.created_at, pod.name)))

    # ---- changing ---------------------------------------------------------------------------------------------------

    def hear(self, kind: Kind, body: Object, *, deleted: bool) -> PoolKey:
        """A watch says that the object is now this, or was this when it was deleted. Returns the key of its row."""
        row = row_of(kind, body)
        if deleted:
            self.tables[kind].remove(row.key, row.uid, row.resource_version)
        else:
            self.tables[kind].put(row)
        return row.key

    def put(self, kind: Kind, body: Object) -> None:
        """The answer to a write says that the object is now this."""
        self.tables[kind].put(row_of(kind, body))

    def put_found(self, kind: Kind, body: Object) -> None:
        """This lies under the name of a child, and the watch cannot see it."""
        self._children[kind].put_found(row_of(kind, body))

    def remove(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """The child is gone, or about to be."""
        self._children[kind].remove(PoolKey(namespace, name), uid)


def row_of(kind: Kind, body: Object) -> Row[Any]:
    """The row of one object: what is read from it, under the pool's key for a pod and under its own name otherwise."""
    metadata = body["metadata"]
    return Row(row_key(kind, metadata), metadata["uid"], int(metadata["resourceVersion"]), _read(kind, body))


def _read(kind: Kind, body: Object) -> Pool | PodView | Object:
    if kind is kinds.FLUXPOOL:
        return read(body)
    if kind is kinds.POD:
        return PodView.of(body, "")  # whether its template is current is known only beside the Deployment
    return body
