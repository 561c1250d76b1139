"""A new default image reaches the pools that want it a few at a time.

A pool with `rollout.onUpgrade` takes one of the slots when its turn comes and gives it back when its pods run. A bad
image thus stops at as many pools as there are slots: their rollouts never end, and the others keep what they have.
"""

from fluxpool_operator.controller.keys import PoolKey

SLOTS = 3


class Upgrades:
    """Who upgrades now, and who waits, in the order of asking."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._upgrading: set[PoolKey] = set()
        self._waiting: dict[PoolKey, None] = {}

    def grant(self, key: PoolKey) -> bool:
        """Whether the pool may upgrade now; if not, it waits for `release` to name it."""
        if key in self._upgrading or len(self._upgrading) < self._slots:
            self._waiting.pop(key, None)
            self._upgrading.add(key)
            return True
        self._waiting[key] = None
        return False

    def release(self, key: PoolKey) -> PoolKey | None:
        """The pool has no upgrade under way (any more). Returns the next to ask, if a slot came free."""
        self._waiting.pop(key, None)
        if key not in self._upgrading:
            return None
        self._upgrading.discard(key)
        return next(iter(self._waiting), None)
