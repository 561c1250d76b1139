"""What one reconcile sees: the pool, its pods, its children, and the facts that the operator's other parts found.

All types here are frozen and made at the edge from API objects, so that everything behind them works on plain values.
Times are aware datetimes of the API server's clock.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool, UnreadableFluxPool

if TYPE_CHECKING:  # scaling imports this module
    from fluxpool_operator.scaling.outcome import Outcome

CONTAINER: Final = contract.COMPONENT
"""Name of the inference container in a pod; others may have been injected."""

TEMPLATE_HASH: Final = "fluxpool.dev/template-hash"
"""Annotation of the pod template: pods that carry the Deployment's value are of the current template."""

TEMPLATE_BASIS: Final = "fluxpool.dev/template-basis"
"""Annotation of the Deployment: what its pod template was made from (see `reconcile.upgrade`)."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why the container does not run yet, for example `ImagePullBackOff`."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """How the container last ended.

    Attributes:
        reason: the pod's own (`contract.START_ERRORS`) if it left one in its termination message, else the kubelet's
            (`Error`, `OOMKilled`, …).
        exit_code: of the process; 128 + n for signal n.
        message: the pod's own sentence, else the raw termination message.
    """

    reason: str
    exit_code: int
    message: str

    @property
    def is_start_error(self) -> bool:
        """Whether the pod itself said why it cannot start."""
        return self.reason in contract.START_ERRORS


@dataclass(frozen=True, slots=True)
class PodView:
    """One inference pod.

    Attributes:
        uid: its identity, also the label of its metrics.
        name: its name.
        ip: its address, None until it has one.
        node: its node's name, None until it is scheduled.
        created_at: when the object was made.
        scheduled_at: when a node was found.
        started_at: when the present run of the container started; None while it does not run.
        ready_at: when it last became ready; None while it is not.
        ready: whether it is ready.
        terminating: whether it is on its way out or has ended (evicted, rejected by its node).
        restarts: restarts of the container.
        template_hash: the template it was made from, empty for a pod that is not of ours.
        current_template: whether that is the Deployment's present one.
        unschedulable: the scheduler's words, while no node fits.
        waiting: why the container does not run.
        terminated: how the container last ended.
    """

    uid: str
    name: str
    created_at: datetime
    ip: str | None = None
    node: str | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ready_at: datetime | None = None
    ready: bool = False
    terminating: bool = False
    restarts: int = 0
    template_hash: str = ""
    current_template: bool = True
    unschedulable: str | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None

    @classmethod
    def of(cls, pod: Mapping[str, Any], current_template_hash: str) -> Self:
        """Read a Pod.

        Args:
            pod: as the API server has it.
            current_template_hash: of the Deployment (`DeploymentView.template_hash`).
        """
        metadata, status = pod["metadata"], pod.get("status") or _NOTHING
        container = _container_status(status)
        ready = _condition(status, "Ready")
        scheduled = _condition(status, "PodScheduled")
        template_hash = (metadata.get("annotations") or _NOTHING).get(TEMPLATE_HASH, "")
        is_ready, is_scheduled = _is_true(ready), _is_true(scheduled)
        return cls(
            uid=metadata["uid"],
            name=metadata["name"],
            created_at=_time(metadata["creationTimestamp"]),
            ip=status.get("podIP"),
            node=(pod.get("spec") or _NOTHING).get("nodeName"),
            scheduled_at=_time(scheduled["lastTransitionTime"]) if is_scheduled else None,
            started_at=_started_at(container),
            ready_at=_time(ready["lastTransitionTime"]) if is_ready else None,
            ready=is_ready,
            terminating="deletionTimestamp" in metadata or status.get("phase") in {"Succeeded", "Failed"},
            restarts=int(container.get("restartCount", 0)),
            template_hash=template_hash,
            current_template=bool(template_hash) and template_hash == current_template_hash,
            unschedulable=_unschedulable(scheduled),
            waiting=_waiting(container),
            terminated=_terminated(container),
        )


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """What the reconciler reads of the Deployment beside the drift check.

    Attributes:
        replicas: `spec.replicas`, the present number.
        existing: `status.replicas`, the pods there are.
        ready: `status.readyReplicas`, those that are ready.
        template_hash: of the pod template.
        basis: the annotation that records what the template was made from, as text; None if it is gone.
        creation_failure: why pods cannot be created (quota, admission), in the API server's words.
        deadline_exceeded: the Deployment's own message if its rollout made no progress for too long.
    """

    replicas: int
    existing: int
    ready: int
    template_hash: str
    basis: str | None = None
    creation_failure: str | None = None
    deadline_exceeded: str | None = None

    @classmethod
    def of(cls, deployment: Mapping[str, Any]) -> Self:
        """Read a Deployment as the API server has it."""
        spec, status = deployment["spec"], deployment.get("status") or _NOTHING
        annotations = deployment["metadata"].get("annotations") or _NOTHING
        template_annotations = spec["template"].get("metadata", _NOTHING).get("annotations") or _NOTHING
        failure, progress = _condition(status, "ReplicaFailure"), _condition(status, "Progressing")
        late = progress.get("reason") == "ProgressDeadlineExceeded"
        return cls(
            replicas=int(spec.get("replicas", 1)),
            existing=int(status.get("replicas", 0)),
            ready=int(status.get("readyReplicas", 0)),
            template_hash=template_annotations.get(TEMPLATE_HASH, ""),
            basis=annotations.get(TEMPLATE_BASIS),
            creation_failure=failure.get("message", "") if _is_true(failure) else None,
            deadline_exceeded=progress.get("message", "") if late else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How the ServiceMonitor of every pool looks, from the chart."""

    labels: Mapping[str, str] = field(default_factory=dict)
    interval: str = "5s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the operator's settings add to every pool.

    Attributes:
        image: for pools without `template.image`.
        image_pull_policy: for pools without `template.imagePullPolicy`; None leaves it to Kubernetes.
        service_monitor: None where there shall be none; given only where the cluster knows that kind.
    """

    image: str
    image_pull_policy: str | None = None
    service_monitor: MonitorSettings | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server refused to write or delete a child.

    Attributes:
        kind: of the child.
        generation: of the pool that asked for it; another spec may ask for what is not refused.
        words: what was tried on which object, and the API server's answer.
    """

    kind: str
    generation: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a reconcile looks at.

    Attributes:
        pool: the FluxPool (`api.read`).
        defaults: from the operator's settings.
        fresh_token: a new random secret, used only if the pool has no admin Secret yet.
        children: what lies under the children's names, by kind, whoever owns it, with its managedFields.
        pods: those with the pool's label.
        outcome: the autoscaler's last word, None before its first.
        batch_sizes: rows per step that ready pods report, by pod UID; unknown ones are absent.
        refusals: of children, when they were last tried.
        status_written_at: when this process last wrote the pool's status, None before.
        may_upgrade: whether this pool may now take a new default image or template revision by itself; the controller
            gives that to a few pools at a time (those with `Plan.wants_upgrade`).
    """

    pool: FluxPool | UnreadableFluxPool
    defaults: Defaults
    fresh_token: str
    children: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pods: tuple[PodView, ...] = ()
    outcome: "Outcome | None" = None
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    status_written_at: datetime | None = None
    may_upgrade: bool = True


def read_pods(pods: Iterable[Mapping[str, Any]], deployment: Mapping[str, Any] | None) -> tuple[PodView, ...]:
    """All pods of a pool, oldest first."""
    current = DeploymentView.of(deployment).template_hash if deployment else ""
    return tuple(sorted((PodView.of(pod, current) for pod in pods), key=lambda pod: (pod.created_at, pod.name)))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), _NOTHING)


def _is_true(condition: Mapping[str, Any]) -> bool:
    return condition.get("status") == "True"


def _container_status(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((c for c in status.get("containerStatuses") or () if c.get("name") == CONTAINER), _NOTHING)


def _started_at(container: Mapping[str, Any]) -> datetime | None:
    running = (container.get("state") or _NOTHING).get("running")
    return _time(running["startedAt"]) if running and running.get("startedAt") else None


def _unschedulable(scheduled: Mapping[str, Any]) -> str | None:
    return scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else None


def _waiting(container: Mapping[str, Any]) -> Waiting | None:
    waiting = (container.get("state") or _NOTHING).get("waiting")
    return Waiting(waiting.get("reason", ""), waiting.get("message", "")) if waiting else None


def _terminated(container: Mapping[str, Any]) -> Terminated | None:
    present, last = container.get("state") or _NOTHING, container.get("lastState") or _NOTHING
    ended = present.get("terminated") or last.get("terminated")
    if not ended:
        return None
    message = ended.get("message", "")
    own = _own_words(message)
    reason, message = own or (ended.get("reason", ""), message)
    return Terminated(reason, int(ended.get("exitCode", 0)), message)


def _own_words(termination_message: str) -> tuple[str, str] | None:
    """Reason and sentence of a pod that could not start (docs/contract.md), which it leaves as its last line."""
    lines = termination_message.strip().splitlines()
    try:
        words = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    if not isinstance(words, dict) or words.get("reason") not in contract.START_ERRORS:
        return None
    return str(words["reason"]), str(words.get("message", ""))
