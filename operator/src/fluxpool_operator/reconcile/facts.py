"""What the rules about conditions look at: the pool as it is and as it shall be, counted once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from fluxpool_operator.api import FluxPool
from fluxpool_operator.reconcile.changes import Changes
from fluxpool_operator.reconcile.sizing import Sizes
from fluxpool_operator.reconcile.upgrade import Template
from fluxpool_operator.world import DeploymentView, PodView, Refusal, Snapshot


@dataclass(frozen=True)
class Facts:
    """Everything that is known when conditions are made; see `Snapshot` for where it comes from."""

    pool: FluxPool
    snapshot: Snapshot
    wanted: Sizes
    template: Template
    changes: Changes
    deployment: DeploymentView | None
    """The pool's own; None while there is none, or another's in its place."""
    now: datetime

    @cached_property
    def pods(self) -> tuple[PodView, ...]:
        """Pods that are not on their way out."""
        return tuple(pod for pod in self.snapshot.pods if not pod.terminating) if self.deployment else ()

    @cached_property
    def current(self) -> tuple[PodView, ...]:
        """Those of the template that the pool shall run."""
        return tuple(pod for pod in self.pods if pod.template_hash == self.template.record.hash)

    @cached_property
    def former(self) -> tuple[PodView, ...]:
        """Those of any other template."""
        return tuple(pod for pod in self.pods if pod.template_hash != self.template.record.hash)

    @cached_property
    def serving(self) -> tuple[PodView, ...]:
        """Ready pods of the template that the pool shall run.

        The Deployment must know of a ready pod too: right after a pool was deleted and made again, the former pods are
        still there and look like ours.
        """
        known = self.deployment is not None and self.deployment.ready > 0
        return tuple(pod for pod in self.current if pod.ready) if known else ()

    @cached_property
    def refusals(self) -> tuple[Refusal, ...]:
        """Those that count: of a child that is still to be written or deleted, as this spec asks for it."""
        due = {apply.kind for apply in self.changes.applies} | {delete.kind for delete in self.changes.deletes}
        generation = self.pool.metadata.generation
        return tuple(r for r in self.snapshot.refusals if r.kind in due and r.generation == generation)

    @cached_property
    def promised(self) -> int:
        """Replicas the user counts on: the lower bound where the operator decides, else their own number."""
        scaling = self.pool.spec.scaling
        return scaling.floor if scaling.mode.operator_decides else self.wanted.replicas

    @property
    def short(self) -> bool:
        """Whether fewer pods serve than the user counts on."""
        return len(self.serving) < self.promised

    @cached_property
    def starting(self) -> tuple[PodView, ...]:
        """Pods of the wanted template that are not ready."""
        return tuple(pod for pod in self.current if not pod.ready)

    def age(self, since: datetime) -> timedelta:
        """Time from `since` to now; never negative, for clocks differ."""
        return max(self.now - since, timedelta(0))
