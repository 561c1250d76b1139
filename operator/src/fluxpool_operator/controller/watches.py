"""kopf, for what it is good at: logging in, and watching without an end.

Handlers hold no logic: an object goes into its table, and the key of the pool concerned on the queue. Nothing is
written: no finalizer, no annotation, no kopf event, no peering.

kopf's own indexes are not used. Until all of them are filled, every object's task waits at one barrier and is woken
whenever any other object is done: 285,000 wake-ups and 30 MB at the start with 200 pools (1,300 objects), growing with
the square. Ours are tables that know of our own writes as well, and the audit tells when they are filled.

All tasks of kopf end with the first of them that fails, and `run` with them: the process is started again.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

import kopf

from fluxpool_operator.cluster import Credentials, Kind, Object
from fluxpool_operator.controller.keys import PoolKey, pool_of
from fluxpool_operator.controller.view import View
from fluxpool_operator.errors import StoppedError

STOP_SECONDS = 3.0

EventObserver = Callable[[str, str | None], None]
"""Called for every event with kind and type (None: listed at the start of a watch)."""


class _NoEssence(kopf.DiffBaseStorage):
    """kopf copies every object deeply, at every event, to tell handlers what changed. No handler here wants to know."""

    def build(  # the signatures are kopf's
        self,
        *,
        body: kopf.Body,  # noqa: ARG002
        extra_fields: Iterable[kopf.FieldSpec] | None = None,  # noqa: ARG002
    ) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        raise NotImplementedError("nothing is ever stored on an object")


def settings() -> kopf.OperatorSettings:
    """How kopf shall work for us; everything not set here is its default."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    # No watch of CRDs and namespaces, and no right to: what must exist is checked before the start, and a CRD that is
    # taken away ends the process.
    chosen.scanning.disabled = True
    # None is no limit: with one, kopf deadlocks at the start when there are more objects than workers.
    chosen.queueing.worker_limit = None
    # Tasks of objects that have become quiet are given up early: at the start there is one per object.
    chosen.queueing.idle_timeout = 0.5
    chosen.queueing.exit_timeout = 0.5
    chosen.persistence.diffbase_storage = _NoEssence()
    # Long enough for an API server that is restarted; after that the process is.
    chosen.networking.error_backoffs = (1, 2, 4, 8)
    chosen.networking.request_timeout = 60
    chosen.networking.connect_timeout = 5
    # A list of hundreds of pods in one piece is tens of megabytes once parsed, and Python gives them back to nobody.
    chosen.watching.chunk_size = 50
    # A stream without a word, not even a bookmark, for longer than this is dead.
    chosen.watching.inactivity_timeout = 90
    return chosen


class Watches:
    """The watches of all kinds of a view.

    Args:
        view: gets the objects.
        add: puts a key on the queue.
        login: the credentials; asked again when they are no longer accepted.
        on_event: for the metrics.
    """

    def __init__(
        self,
        view: View,
        add: Callable[[PoolKey], None],
        login: Callable[[], Awaitable[Credentials]],
        on_event: EventObserver,
    ) -> None:
        self._view = view
        self._add = add
        self._login = login
        self._on_event = on_event
        self._registry = kopf.OperatorRegistry()
        self._settings = settings()
        self._register_login()
        for kind in view.tables:
            self._register(kind)

    async def start(self, namespaces: Collection[str]) -> Collection[asyncio.Task[None]]:
        """Start watching, in these namespaces or, if there are none, in all; `run` must follow.

        kopf takes SIGINT and SIGTERM for itself here: whoever wants them must take them after this.
        """
        # Left to itself kopf asks for the user's name, and dies where the image knows none of that number.
        identity: Any = platform.node()
        return await kopf.spawn_tasks(
            registry=self._registry,
            settings=self._settings,
            identity=identity,
            clusterwide=not namespaces,
            namespaces=list(namespaces),
        )

    @staticmethod
    async def run(tasks: Collection[asyncio.Task[None]]) -> None:
        """Watch until cancelled.

        Raises:
            StoppedError: a watch has failed for good.
        """
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for error in (task.exception() for task in done if not task.cancelled()) if error]
            raise StoppedError(f"a watch has ended: {_words_of(errors[0])}" if errors else "kopf has ended")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    # ---- handlers ---------------------------------------------------------------------------------------------------

    def _register_login(self) -> None:
        @kopf.on.login(id="login", registry=self._registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            known = await self._login()
            return kopf.ConnectionInfo(
                server=known.server,
                ca_path=known.ca_file,
                certificate_path=known.certificate_file,
                private_key_path=known.key_file,
                token=known.token,
                insecure=known.insecure,
                proxy_url=known.proxy,
            )

    def _register(self, kind: Kind) -> None:
        group, version, plural = kind.group, kind.version, kind.plural
        if kind.selector:
            self._settings.watching.label_selectors[group, version, plural] = kind.selector

        @kopf.on.event(group, version, plural, id=plural, registry=self._registry)
        async def event(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name of it
            self._on_event(kind.name, type)
            self._hear(kind, dict(body), deleted=type == "DELETED")

    def _hear(self, kind: Kind, body: Object, *, deleted: bool) -> None:
        self._add(pool_of(kind, self._view.hear(kind, body, deleted=deleted)))


def _words_of(error: BaseException) -> str:
    """What happened, in one line: kopf's API errors carry the API server's message first, then its whole answer."""
    return str(error.args[0]) if error.args and isinstance(error.args[0], str) else repr(error)
