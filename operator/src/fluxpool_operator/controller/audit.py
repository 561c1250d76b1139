"""Compares what the API server has with what the watches brought.

At the start it tells when the first lists are indexed. Later it runs now and then, for two things that kopf does not
notice: a deletion that fell into a gap of a watch (the object is taken out of its table), and a watch that hangs, whose
objects stay behind what the API server has (the process ends, and a new one starts with fresh watches).

Only names and versions are listed, in pages: some kilobytes for hundreds of pools.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from fluxpool_operator.cluster import Kind, ObjectVersion
from fluxpool_operator.controller.keys import PoolKey, pool_of
from fluxpool_operator.controller.ports import Lister
from fluxpool_operator.controller.view import View
from fluxpool_operator.errors import ClusterError, StoppedError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
RELIST_SECONDS = 5.0
GRACE_SECONDS = 20.0
"""How far a healthy watch may be behind."""


class Audit:
    """See the module.

    Args:
        cluster: to list from.
        view: what the watches brought.
        namespaces: those watched; empty: all.
        add: puts the key of a pool on the queue.
        on_missed: called for every object that went away unnoticed.
    """

    def __init__(
        self,
        cluster: Lister,
        view: View,
        namespaces: Collection[str],
        add: Callable[[PoolKey], None],
        on_missed: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._view = view
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._add = add
        self._on_missed = on_missed

    async def first_sync(self) -> None:
        """Return when everything that the API server has is indexed.

        Raises:
            ClusterError: it cannot be listed.
        """
        loop = asyncio.get_running_loop()
        while True:
            listed = {kind: (await self._list(kind))[1] for kind in self._view.tables}
            until = loop.time() + RELIST_SECONDS
            while loop.time() < until:
                if not any(self._is_behind(kind, objects) for kind, objects in listed.items()):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def run(self, interval_seconds: float) -> None:
        """Check every so often until cancelled.

        Raises:
            StoppedError: a watch hangs.
        """
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.check()
            except ClusterError as error:
                log.warning("the audit was skipped: %s", error)

    async def check(self) -> None:
        """Remove what is gone and end the process if a watch hangs.

        Raises:
            ClusterError: it cannot be listed.
            StoppedError: a watch hangs.
        """
        listings = {kind: await self._list(kind) for kind in self._view.tables}
        await asyncio.sleep(GRACE_SECONDS)
        for kind, (version, objects) in listings.items():
            self._remove_missed(kind, version, objects)
            behind = self._is_behind(kind, objects)
            if behind:
                await self._confirm_behind(kind, behind)

    def _remove_missed(self, kind: Kind, version: int, objects: Sequence[ObjectVersion]) -> None:
        there = {object_.uid for object_ in objects}
        known = self._view.tables[kind].versions()
        # What is newer than the listing was made after it.
        missed = [uid for uid, seen in known.items() if uid not in there and seen <= version]
        for row in self._view.tables[kind].rows_of(missed):
            self._view.tables[kind].remove(row.key, row.uid, version)
            self._on_missed()
            log.warning("%s of %s went away without an event", kind.name, row.key)
            self._add(pool_of(kind, row.key))

    def _is_behind(self, kind: Kind, objects: Sequence[ObjectVersion]) -> list[ObjectVersion]:
        known = self._view.tables[kind].versions()
        return [object_ for object_ in objects if known.get(object_.uid, 0) < object_.resource_version]

    async def _confirm_behind(self, kind: Kind, behind: Sequence[ObjectVersion]) -> None:
        """What is deleted by now was not missed."""
        there = {object_.uid for object_ in (await self._list(kind))[1]}
        hanging = [object_ for object_ in self._is_behind(kind, behind) if object_.uid in there]
        if hanging:
            example = f"{hanging[0].namespace}/{hanging[0].name}"
            raise StoppedError(f"the watch of {kind.plural} hangs: {len(hanging)} objects are behind, as {example}")

    async def _list(self, kind: Kind) -> tuple[int, list[ObjectVersion]]:
        """All objects of that kind in the watched namespaces, and the oldest version of the lists."""
        listings = [await self._cluster.list_versions(kind, namespace) for namespace in self._namespaces]
        return (
            min(listing.resource_version for listing in listings),
            [object_ for listing in listings for object_ in listing.objects],
        )
