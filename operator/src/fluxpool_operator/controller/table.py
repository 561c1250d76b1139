"""All objects of one kind as this process knows them: what the watch brought, and what our own writes came back as.

*Read your own writes.* A watch is behind by some milliseconds, or by seconds when the API server is busy. A worker that
reconciled on that old view would write the same change again, or take back a newer one. So the API server's answer to
a write is put here at once, and what the watch brings is dropped while it is older than what is here. (resourceVersions
of one kind are compared as numbers: KEP-5504 promises that they can be.) For the same reason what is gone does not come
back by an answer or event from before its end. At a later version it may: a watch also tells of a deletion where an
object has only lost the label that is watched for.

*Objects the watch cannot see* (another label, or none) can lie under a child's name. They are known only from having
been read, and only for `FOUND_SECONDS`.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from fluxpool_operator.controller.keys import PoolKey

Value = TypeVar("Value")

FOUND_SECONDS = 30.0
ENDS_REMEMBERED = 2000
"""Far more deletions than can be under way between a write and its event."""


@dataclass(frozen=True, slots=True)
class Row(Generic[Value]):
    """One object at one version.

    Attributes:
        key: what it is looked up by; several pods share one.
        uid: its identity.
        resource_version: of this state of it.
        value: what was read from it, once.
    """

    key: PoolKey
    uid: str
    resource_version: int
    value: Value


class Table(Generic[Value]):
    """See the module."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[PoolKey, dict[str, Row[Value]]] = {}
        self._ends: OrderedDict[str, float] = OrderedDict()
        self._found: dict[PoolKey, tuple[Row[Value], float]] = {}

    # ---- reading ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[PoolKey]:
        """Every key with a row, as of now."""
        return iter(list(self._rows))

    def __contains__(self, key: object) -> bool:
        """Whether the key has a row."""
        return key in self._rows

    def __len__(self) -> int:
        """How many keys have a row."""
        return len(self._rows)

    def all(self, key: PoolKey) -> list[Row[Value]]:
        """The rows under this key."""
        return list(self._rows.get(key, {}).values())

    def get(self, key: PoolKey) -> Row[Value] | None:
        """The one object under this key. For a moment there may be two, one dying and its successor, which counts."""
        newest = max(self.all(key), key=lambda row: row.resource_version, default=None)
        return newest or self._found_row(key)

    def versions(self) -> dict[str, int]:
        """The version of every row, by UID."""
        return {uid: row.resource_version for rows in self._rows.values() for uid, row in rows.items()}

    # ---- changing ---------------------------------------------------------------------------------------------------

    def put(self, row: Row[Value]) -> None:
        """The object is now this, unless more is known."""
        if row.resource_version <= self._ends.get(row.uid, 0):
            return
        rows = self._rows.setdefault(row.key, {})
        known = rows.get(row.uid)
        if known is None or known.resource_version <= row.resource_version:
            rows[row.uid] = row

    def put_found(self, row: Row[Value]) -> None:
        """The object was read, and the watch does not see it."""
        self._found[row.key] = (row, self._clock() + FOUND_SECONDS)

    def remove(self, key: PoolKey, uid: str, version: float = math.inf) -> None:
        """The object is gone since that version; for good where none is given."""
        self._ends[uid] = max(version, self._ends.get(uid, 0))
        while len(self._ends) > ENDS_REMEMBERED:
            self._ends.popitem(last=False)
        rows = self._rows.get(key, {})
        if uid in rows and rows[uid].resource_version <= version:
            del rows[uid]
        if not rows:
            self._rows.pop(key, None)

    def rows_of(self, uids: Iterable[str]) -> list[Row[Value]]:
        """The rows with these UIDs."""
        wanted = set(uids)
        return [row for rows in self._rows.values() for uid, row in rows.items() if uid in wanted]

    def _found_row(self, key: PoolKey) -> Row[Value] | None:
        row, until = self._found.get(key, (None, 0.0))
        if row is not None and until <= self._clock():
            del self._found[key]
            return None
        return row
