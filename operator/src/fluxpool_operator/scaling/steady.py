"""Keeps what is said of a pool from changing while nothing happens to it.

Live values differ at every tick, and under random load so do reasons: one moment the window holds, the next the need is
what there is. Each difference would be a status write. So a message stays as long as its reason does, and a reason
gives way to a less important one only when it has not come up again for a while.
"""

from collections.abc import Hashable, Sequence
from typing import Final

from fluxpool_operator.scaling.outcome import ConditionFact

LINGER_SECONDS: Final = 30.0
"""How long a reason stays that does not hold any more, if all that has come after it is less important."""


class Steady:
    """One condition of one pool.

    Args:
        ranking: reasons, the most important first; a reason that is not among them never lingers.
    """

    def __init__(self, ranking: Sequence[str] = ()) -> None:
        self._rank = {str(reason): position for position, reason in enumerate(ranking)}
        self._fact: ConditionFact | None = None
        self._about: Hashable = None
        self._confirmed_at = 0.0

    def update(self, fact: ConditionFact, about: Hashable, now: float) -> ConditionFact:
        """What to say.

        Args:
            fact: what the live values say.
            about: what the fact is about, such as the desired numbers; when it changes the fact counts at once.
            now: seconds, monotonic.
        """
        said = self._fact
        if said is not None and about == self._about:
            if (said.status, said.reason) == (fact.status, fact.reason):
                self._confirmed_at = now
                return said
            if self._lingers(said, fact, now):
                return said
        self._fact, self._about, self._confirmed_at = fact, about, now
        return fact

    def _lingers(self, said: ConditionFact, fact: ConditionFact, now: float) -> bool:
        if said.reason not in self._rank or fact.reason not in self._rank:
            return False
        return self._rank[said.reason] < self._rank[fact.reason] and now - self._confirmed_at < LINGER_SECONDS
