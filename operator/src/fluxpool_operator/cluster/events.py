"""Events on a FluxPool, as `kubectl describe` shows them (`events.k8s.io/v1`).

The same event again within the API server's usual memory of it raises a count instead of making a new object (the
`series` of the API), and that count is written at most once a minute: a fact that repeats costs one small write a
minute. An event is a courtesy: when it cannot be written the failure is counted and logged, nothing else happens.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from fluxpool_operator.cluster.client import Cluster, Object
from fluxpool_operator.cluster.kinds import EVENT, FLUXPOOL
from fluxpool_operator.errors import ClusterError, NotFoundError

log = logging.getLogger(__name__)

Severity = Literal["Normal", "Warning"]

REPORTING_CONTROLLER = "fluxpool.dev/operator"
SERIES_SECONDS = 360.0  # client-go's events recorder ends a series after 6 minutes of silence
REPEAT_SECONDS = 60.0
REMEMBERED = 1000
NOTE_LENGTH = 1024  # the API server's limit


@dataclass(frozen=True, slots=True)
class Regarding:
    """The FluxPool an event is about."""

    namespace: str
    name: str
    uid: str


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last_seen: float
    last_written: float


class Recorder:
    """Writes events; one per process.

    Args:
        cluster: where to.
        instance: the name of this operator process (its pod's name).
        clock: monotonic seconds.
        now: the present time, for the event's timestamps.
    """

    def __init__(
        self,
        cluster: Cluster,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._instance = instance
        self._clock = clock
        self._now = now
        self._known: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()

    async def record(
        self,
        regarding: Regarding,
        severity: Severity,
        reason: str,
        action: str,
        note: str,
    ) -> None:
        """Say `note` about the FluxPool, as far as there is room for it."""
        note = note[:NOTE_LENGTH]
        key = (regarding.uid, reason, note)
        known = self._known.get(key)
        try:
            if known is not None and self._clock() - known.last_seen < SERIES_SECONDS:
                await self._repeat(regarding, known)
            else:
                self._remember(key, await self._create(regarding, severity, reason, action, note))
        except NotFoundError:  # the event (or the whole namespace) is gone; the next one starts anew
            self._known.pop(key, None)
        except ClusterError as error:
            log.warning("an event was not written: %s", error)

    async def _create(self, regarding: Regarding, severity: str, reason: str, action: str, note: str) -> str:
        event: Object = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"name": f"{regarding.name}.{uuid4().hex[:16]}", "namespace": regarding.namespace},
            "eventTime": self._timestamp(),
            "reportingController": REPORTING_CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": FLUXPOOL.api_version,
                "kind": FLUXPOOL.name,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": regarding.uid,
            },
            "type": severity,
            "reason": reason,
            "action": action,
            "note": note,
        }
        await self._cluster.create_event(event)
        return str(event["metadata"]["name"])

    async def _repeat(self, regarding: Regarding, known: _Series) -> None:
        known.count += 1
        known.last_seen = self._clock()
        if known.last_seen - known.last_written < REPEAT_SECONDS:
            return
        series = {"count": known.count, "lastObservedTime": self._timestamp()}
        await self._cluster.patch_event(regarding.namespace, known.name, {"series": series})
        known.last_written = known.last_seen

    def _remember(self, key: tuple[str, str, str], name: str) -> None:
        now = self._clock()
        self._known[key] = _Series(name, count=1, last_seen=now, last_written=now)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _timestamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
