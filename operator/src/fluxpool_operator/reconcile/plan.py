"""What a reconcile decides, as data: the cluster's next writes, and why, in words.

Whoever executes a plan writes the status first, then the events, then children in the given order. Children are
written by server-side apply with force under `resources.FIELD_MANAGER` (always apply, also to create: an object made
by POST keeps a second, `Update` ownership, and fields that leave the intent later would stay).

An apply that `creates` was decided because nothing is known under that name. The watch sees only objects with our
label, so the name must be read first: an object found there is put into the next snapshot's `children` instead of
being written over, and the reconciler decides whether it is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Apply:
    """One child to be written by server-side apply.

    Attributes:
        manifest: all fields that are ours, and no others.
        why: for the log, for example `replicas 2 -> 3`.
        creates: whether no object of that name is known (see the module).
    """

    manifest: Mapping[str, Any]
    why: str
    creates: bool

    @property
    def kind(self) -> str:
        """Of the child."""
        return str(self.manifest["kind"])


@dataclass(frozen=True, slots=True)
class Delete:
    """One child to be deleted, if it is still the one with this UID."""

    api_version: str
    kind: str
    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """One Kubernetes event on the FluxPool."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The next writes for one pool.

    Attributes:
        status: a JSON merge patch of the FluxPool's `.status`, None if it is right as it is. Events go with it and
            only with it, so that each is sent once.
        events: what people should know of the status change.
        applies: children to write, in order.
        deletes: children to delete.
        desired_replicas: what the pool shall have, in every mode; None if it cannot be known (unreadable pool).
        desired_batch_size: what its pods shall run with; None leaves them at their own default.
        wants_upgrade: whether the pool would take a new default image or template revision if `may_upgrade` let it.
        rolling_out: whether pods of another template than the present one are left, or none of it is ready yet.
        requeue_after_seconds: when time alone will change the plan; None if it will not.
        explanation: one line per write or refusal, for the log.
    """

    status: Mapping[str, Any] | None = None
    events: tuple[PlannedEvent, ...] = ()
    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    desired_replicas: int | None = None
    desired_batch_size: int | None = None
    wants_upgrade: bool = False
    rolling_out: bool = False
    requeue_after_seconds: float | None = None
    explanation: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return self.status is None and not self.applies and not self.deletes
