"""All objects of one kind as this process knows them: kopf's index, and what it does not show.

*Read your own writes.* A watch is behind by some milliseconds, or by seconds when the API server is busy. A worker that
reconciled on that old view would write the same change again, or take back a newer one. So the API server's answer to
a write is kept here and laid over the index, until the index holds that version or a newer one. (resourceVersions of
one kind are compared as numbers: KEP-5504 promises that they can be.) An entry ends by itself after `TTL_SECONDS`, for
the watch will never show our version if the object was deleted in a gap of the watch. client-go's MutationCache works
the same way.

*Missed deletions.* When a watch has to start over (410 Gone), kopf lists again, but what was deleted meanwhile stays in
its index. The audit finds such objects, and they are buried here.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from fluxpool_operator.controller.keys import PoolKey

Value = TypeVar("Value")

TTL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Seen(Generic[Value]):
    """One object at one version; `value` is what was read from it, once."""

    uid: str
    resource_version: int
    value: Value


class Table(Generic[Value]):
    """See the module. Rows are found under the key the index was made with."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._index: Mapping[PoolKey, Iterable[Seen[Value]]] = {}
        self._written: dict[PoolKey, tuple[Seen[Value], float]] = {}
        self._deleted: dict[str, float] = {}
        self._buried: set[str] = set()

    def attach(self, index: Mapping[PoolKey, Iterable[Seen[Value]]]) -> None:
        """Look into this index from now on; kopf fills and changes it."""
        self._index = index

    def keys(self) -> list[PoolKey]:
        """Every key with a row."""
        return [key for key in {*self._index, *self._written} if self.get(key) is not None]

    def all(self, key: PoolKey) -> list[Seen[Value]]:
        """The rows of the index under this key."""
        return [seen for seen in self._index.get(key, ()) if seen.uid not in self._buried]

    def get(self, key: PoolKey) -> Seen[Value] | None:
        """The one object of that name, as the index has it or as we wrote it, whichever is newer."""
        # For a moment there may be two in the index: one deleted, and its successor.
        indexed = max(self.all(key), key=lambda seen: seen.resource_version, default=None)
        if indexed is not None and self._deleted.get(indexed.uid, 0.0) > self._clock():
            return None
        written, until = self._written.get(key, (None, 0.0))
        if written is None:
            return indexed
        if until <= self._clock() or (indexed is not None and indexed.resource_version >= written.resource_version):
            del self._written[key]
            return indexed
        return written

    def unsettled_seconds(self, key: PoolKey) -> float | None:
        """In how many seconds a write that the index does not show yet is given up; None if there is none."""
        return max(0.0, self._written[key][1] - self._clock()) if key in self._written else None

    # ---- our own writes ---------------------------------------------------------------------------------------------

    def wrote(self, key: PoolKey, seen: Seen[Value]) -> None:
        """The API server answered that the object is now this."""
        self._written[key] = (seen, self._clock() + TTL_SECONDS)

    def deleted(self, key: PoolKey, uid: str) -> None:
        """The API server answered that it deletes the object with that UID."""
        self._written.pop(key, None)
        self._deleted[uid] = self._clock() + TTL_SECONDS

    # ---- what the watch says, and what it failed to say -------------------------------------------------------------

    def gone(self, key: PoolKey, uid: str) -> None:
        """The watch said that the object with that UID is gone."""
        self._buried.discard(uid)
        self._deleted.pop(uid, None)
        written, _ = self._written.get(key, (None, 0.0))
        if written is not None and written.uid == uid:
            del self._written[key]

    def versions(self) -> dict[str, int]:
        """The resourceVersion of every row of the index, by UID."""
        return {seen.uid: seen.resource_version for key in self._index for seen in self.all(key)}

    def bury(self, uids: Iterable[str]) -> list[PoolKey]:
        """Take these for gone although the watch did not say so. Returns the keys of their rows."""
        dead = set(uids)
        keys = [key for key in self._index if any(seen.uid in dead for seen in self.all(key))]
        self._buried |= dead
        return keys
