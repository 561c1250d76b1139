"""What the process keeps of each pool beside what the cluster holds; a restart loses it, and nothing depends on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fluxpool_operator.controller.keys import PoolKey
from fluxpool_operator.scaling.outcome import Outcome
from fluxpool_operator.world import Refusal


@dataclass(slots=True)
class PoolMemory:
    """Of one pool.

    Attributes:
        outcome: the autoscaler's last word.
        batch_sizes: rows per step that its ready pods report, by pod UID.
        desired_batch_size: what they shall run with, by the last plan.
        refusals: of its children, when they were last tried.
        namespace_ends: it is being deleted, which nothing can stop.
        status_written_at: when this process last wrote the status.
        explanation: what the last plan said, so that it is logged once.
    """

    outcome: Outcome | None = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    desired_batch_size: int | None = None
    refusals: tuple[Refusal, ...] = ()
    namespace_ends: bool = False
    status_written_at: datetime | None = None
    explanation: tuple[str, ...] = ()


class Memories:
    """Of all pools, made on first use."""

    def __init__(self) -> None:
        self._by_key: dict[PoolKey, PoolMemory] = {}

    def __getitem__(self, key: PoolKey) -> PoolMemory:
        """The memory of that pool."""
        return self._by_key.setdefault(key, PoolMemory())

    def __iter__(self) -> Iterator[PoolKey]:
        """The pools remembered."""
        return iter(list(self._by_key))

    def forget(self, key: PoolKey) -> bool:
        """The pool is gone. Returns whether anything was remembered of it."""
        return self._by_key.pop(key, None) is not None
