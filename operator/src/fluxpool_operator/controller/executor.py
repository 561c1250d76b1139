"""Executes a plan: the status first, then its events, then the children, each by one write.

Status first, because it holds what the autoscaler decided: if the process dies in between, the next one finds the
decision and carries it out. The children follow in the plan's order; one that the API server refuses does not hold up
the others. What was refused is remembered, for the next status to tell, and is tried again like any other failure; each
further refusal is an event, which is counted where it repeats. In a namespace that is being deleted no child is tried
again: the pool goes with it.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime

from fluxpool_operator.cluster import kinds
from fluxpool_operator.cluster.client import Object
from fluxpool_operator.cluster.events import Regarding
from fluxpool_operator.cluster.kinds import Kind
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.memory import PoolMemory
from fluxpool_operator.controller.ports import Events, Writes
from fluxpool_operator.controller.table import Row
from fluxpool_operator.controller.view import Pool, View
from fluxpool_operator.errors import ClusterError, ForbiddenError, InvalidError, NamespaceEndsError, NotFoundError
from fluxpool_operator.reconcile.plan import Apply, Delete, Plan, PlannedEvent
from fluxpool_operator.reconcile.problems import REFUSED
from fluxpool_operator.world import Refusal

log = logging.getLogger(__name__)


class Executor:
    """See the module.

    Args:
        cluster: where to write.
        events: where to say it.
        view: where the answers go, so that the next reconcile knows of them.
        now: the present time.
    """

    def __init__(self, cluster: Writes, events: Events, view: View, now: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._events = events
        self._view = view
        self._now = now

    async def execute(self, key: PoolKey, pool: Row[Pool], plan: Plan, memory: PoolMemory) -> bool:
        """Write what the plan says.

        Returns:
            False if something came to light that the plan did not know of, and that changes what is to be written or
            said: reconcile again, at once.

        Raises:
            ClusterError: a write failed; those after it were still tried if the API server refused just that object.
        """
        if plan.status is not None:
            await self._write_status(key, pool, plan, memory)
        if memory.namespace_ends:
            return True
        try:
            known, refused = await self._change_children(key, plan)
        except NamespaceEndsError as ending:
            log.info("%s/%s gets no more children: %s", key.namespace, key.name, ending)
            memory.namespace_ends = True
            return True
        if _remember(refused, pool.value.metadata.generation, memory):
            return False
        for error in refused.values():
            await self._say(key, pool, PlannedEvent("Warning", REFUSED, str(error)))
        if refused:
            raise next(iter(refused.values()))
        return known

    async def _write_status(self, key: PoolKey, pool: Row[Pool], plan: Plan, memory: PoolMemory) -> None:
        version = str(pool.resource_version)
        body = await self._cluster.patch_status(key.namespace, key.name, version, dict(plan.status or {}))
        self._view.put(kinds.FLUXPOOL, body)
        memory.status_written_at = self._now()
        for event in plan.events:
            await self._say(key, pool, event)

    async def _change_children(self, key: PoolKey, plan: Plan) -> tuple[bool, dict[str, ClusterError]]:
        """Returns whether the plan knew of all that is there, and what the API server refused, by kind."""
        known = True
        refused: dict[str, ClusterError] = {}
        changes: tuple[Apply | Delete, ...] = (*plan.applies, *plan.deletes)
        for change in changes:
            try:
                known = await self._change(key, change) and known
            except (InvalidError, ForbiddenError) as error:
                refused[change.kind] = error
        return known, refused

    async def _change(self, key: PoolKey, change: Apply | Delete) -> bool:
        if isinstance(change, Apply):
            return await self._apply(change)
        await self._delete(key.namespace, change)
        return True

    async def _apply(self, apply: Apply) -> bool:
        manifest = dict(apply.manifest)
        kind = kinds.kind_of(manifest["apiVersion"], manifest["kind"])
        if apply.creates and await self._is_there(kind, manifest):
            return False
        self._view.put(kind, await self._cluster.apply(manifest))
        return True

    async def _is_there(self, kind: Kind, manifest: Object) -> bool:
        """Whether something lies under that name that the watch does not see, having another label or none."""
        metadata = manifest["metadata"]
        try:
            found = await self._cluster.read(kind, metadata["namespace"], metadata["name"])
        except NotFoundError:
            return False
        self._view.put_found(kind, found)
        return True

    async def _delete(self, namespace: str, delete: Delete) -> None:
        kind = kinds.kind_of(delete.api_version, delete.kind)
        try:
            await self._cluster.delete(kind, namespace, delete.name, delete.uid)
        except NotFoundError:
            log.debug("%s %s/%s was gone already", delete.kind, namespace, delete.name)
        self._view.remove(kind, namespace, delete.name, delete.uid)

    async def _say(self, key: PoolKey, pool: Row[Pool], event: PlannedEvent) -> None:
        regarding = Regarding(key.namespace, key.name, pool.uid)
        await self._events.record(regarding, event.type, event.reason, "Reconcile", event.message)


def _remember(refused: Mapping[str, ClusterError], generation: int, memory: PoolMemory) -> bool:
    """Returns whether other children are refused than before, or on behalf of another spec."""
    before = {(refusal.kind, refusal.generation) for refusal in memory.refusals}
    memory.refusals = tuple(Refusal(kind, generation, str(error)) for kind, error in refused.items())
    return before != {(refusal.kind, refusal.generation) for refusal in memory.refusals}
