"""The batch size on to the pods, beside everything else: one task per pool at most, none of which anybody waits for.

What ready pods run with is kept in the pool's memory; when that changes the pool is reconciled, for its status says it.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping

from fluxpool_operator import contract
from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.controller.memory import Memories
from fluxpool_operator.controller.ports import BatchPusher
from fluxpool_operator.controller.view import View
from fluxpool_operator.world import PodView

log = logging.getLogger(__name__)


class Pushes:
    """See the module.

    Args:
        pusher: talks to the pods.
        view: knows the pods and the token.
        memories: hold what the pods shall run with, and get what they do.
        add: puts a key on the queue.
    """

    def __init__(self, pusher: BatchPusher, view: View, memories: Memories, add: Callable[[PoolKey], None]) -> None:
        self._pusher = pusher
        self._view = view
        self._memories = memories
        self._add = add
        self._running: dict[PoolKey, asyncio.Task[None]] = {}

    def update(self, key: PoolKey, pods: tuple[PodView, ...], reported: Mapping[str, int]) -> None:
        """See to it that ready pods run with the pool's batch size, given what they report."""
        desired = self._memories[key].desired_batch_size
        if key in self._running:
            return
        if desired is None or all(reported.get(pod.uid) == desired for pod in pods if pod.ready):
            self._keep(key, reported)
            return
        token = self._token(key)
        if token is not None:
            task = asyncio.create_task(self._converge(key, desired, pods, token), name=f"push {key}")
            self._running[key] = task

    async def _converge(self, key: PoolKey, desired: int, pods: tuple[PodView, ...], token: str) -> None:
        try:
            self._keep(key, await self._pusher.converge(key, desired, pods, token))
        except Exception:
            log.exception("a bug in pushing the batch size", extra={"pool": str(key)})
        finally:
            del self._running[key]

    def _keep(self, key: PoolKey, sizes: Mapping[str, int]) -> None:
        if key in self._view.pools and sizes != self._memories[key].batch_sizes:
            self._memories[key].batch_sizes = dict(sizes)
            self._add(key)

    def _token(self, key: PoolKey) -> str | None:
        secret = self._view.child(kinds.SECRET, key)
        data = (secret or {}).get("data") or {}
        encoded = data.get(contract.ADMIN_SECRET_KEY)
        try:
            return base64.b64decode(encoded, validate=True).decode() if encoded else None
        except ValueError:  # somebody's own idea of a token; the reconciler puts it right
            return None
