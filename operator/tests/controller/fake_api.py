"""An API server in memory: versions, server-side apply's books, conflicts, and watches that bring events when told to.

It plays the ports that the controller has on the cluster. `deliver` hands waiting events to a listener, as the watches
would; until then they are on their way.
"""

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from api.pools import body
from reconcile.fake_cluster import applied, merge

from fluxpool_operator import contract
from fluxpool_operator.cluster import Kind, Listing, Object, ObjectVersion, kinds
from fluxpool_operator.cluster.events import Regarding, Severity
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.errors import ConflictError, NotFoundError

Name = tuple[str, str, str]
Listener = Callable[[Kind, Object, bool], None]


@dataclass
class FakeApi:
    objects: dict[Name, Object] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    on_its_way: deque[tuple[Kind, Object, bool]] = field(default_factory=deque)
    failures: dict[str, Exception] = field(default_factory=dict)
    before_write: Callable[[], None] = lambda: None
    version: int = 100

    # ---- what the controller calls ----------------------------------------------------------------------------------

    async def read(self, kind: Kind, namespace: str, name: str) -> Object:
        self.reads.append(f"{kind.name} {name}")
        return copy.deepcopy(self._get(kind, namespace, name))

    async def apply(self, manifest: Object) -> Object:
        kind = kinds.kind_of(manifest["apiVersion"], manifest["kind"])
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        self._begin(f"apply {kind.name} {name}")
        live = self.objects.get((kind.name, namespace, name))
        made = applied(manifest, live)
        if live is None:
            made["metadata"]["uid"] = f"{kind.name}-{self.version + 1}"
        return self._store(kind, made)

    async def patch_status(self, namespace: str, name: str, resource_version: str, status: Object) -> Object:
        self._begin(f"status {name}")
        pool = self._get(kinds.FLUXPOOL, namespace, name)
        if pool["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError("patch status", "the object has been modified")
        return self._store(kinds.FLUXPOOL, {**pool, "status": merge(pool.get("status", {}), status)})

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self._begin(f"delete {kind.name} {name}")
        if self._get(kind, namespace, name)["metadata"]["uid"] != uid:
            raise ConflictError("delete", "another UID")
        self.vanish(kind, name, namespace)

    async def list_versions(self, kind: Kind, namespace: str | None) -> Listing:
        return Listing(self.version, [_version_of(o) for o in self._of(kind) if self._is_seen(kind, o)])

    async def record(self, regarding: Regarding, severity: Severity, reason: str, action: str, note: str) -> None:
        self.notes.append((reason, note))

    # ---- what everybody else does -----------------------------------------------------------------------------------

    def add_pool(self, name: str = "demo", **arguments: Any) -> PoolKey:
        made = body(name, **arguments)
        made["metadata"]["uid"] = f"{name}-{self.version + 1}"
        self.put(kinds.FLUXPOOL, made)
        return PoolKey("default", name)

    def put(self, kind: Kind, made: Object) -> Object:
        """Create or change an object."""
        return self._store(kind, made)

    def get(self, kind: Kind, name: str = "demo") -> Object:
        return self._get(kind, "default", name)

    def edit(self, kind: Kind, name: str = "demo", /, **changes: Any) -> None:
        self._store(kind, {**self._get(kind, "default", name), **changes})

    def vanish(self, kind: Kind, name: str = "demo", namespace: str = "default", *, unseen: bool = False) -> None:
        """The object is deleted; `unseen`: in a gap of the watch."""
        gone = self.objects.pop((kind.name, namespace, name))
        self.version += 1
        gone["metadata"]["resourceVersion"] = str(self.version)
        if not unseen and self._is_seen(kind, gone):
            self.on_its_way.append((kind, gone, True))

    def deliver(self, listener: Listener, most: int | None = None) -> None:
        """The watches bring what is on its way, oldest first."""
        for _ in range(len(self.on_its_way) if most is None else most):
            listener(*self.on_its_way.popleft())

    # ---- books ------------------------------------------------------------------------------------------------------

    def _begin(self, what: str) -> None:
        self.before_write()
        self.writes.append(what)
        if what in self.failures:
            raise self.failures[what]

    def _store(self, kind: Kind, made: Object) -> Object:
        self.version += 1
        metadata = {
            "namespace": "default",
            "uid": f"{kind.name}-{self.version}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **made["metadata"],
            "resourceVersion": str(self.version),
        }
        stored = {**made, "metadata": metadata}
        name = (kind.name, metadata["namespace"], metadata["name"])
        before, self.objects[name] = self.objects.get(name), stored
        if self._is_seen(kind, stored):
            self.on_its_way.append((kind, copy.deepcopy(stored), False))
        elif before and self._is_seen(kind, before):
            # What leaves a watch's selector is told as deleted: as it was, at the version of the change.
            self.on_its_way.append((kind, merge(before, {"metadata": {"resourceVersion": str(self.version)}}), True))
        return copy.deepcopy(stored)

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            return self.objects[kind.name, namespace, name]
        except KeyError:
            raise NotFoundError(f"read {kind.name} {namespace}/{name}", "not found") from None

    def _of(self, kind: Kind) -> list[Object]:
        return [found for (name, _, _), found in self.objects.items() if name == kind.name]

    @staticmethod
    def _is_seen(kind: Kind, found: Object) -> bool:
        return not kind.selector or contract.LABEL_POOL in (found["metadata"].get("labels") or {})


def _version_of(found: Object) -> ObjectVersion:
    metadata = found["metadata"]
    return ObjectVersion(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        int(metadata["resourceVersion"]),
        metadata.get("labels") or {},
    )
