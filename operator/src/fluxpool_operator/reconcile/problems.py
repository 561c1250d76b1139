"""Why a pool cannot go on: a chain of rules, the first that applies is what is said.

Rules look at the pods of the wanted template. Whether a problem stalls the pool, or only keeps it from growing beyond
what the user counts on, is not decided here (see `conditions`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fluxpool_operator.reconcile.facts import Facts
from fluxpool_operator.world import PodView

SCHEDULING_GRACE: Final = timedelta(seconds=60)
"""A pod that finds no node for so long will not without help: from the user, or from a node autoscaler."""

REFUSED: Final = "Refused"

CRASH_LOOP_RESTARTS: Final = 2
CRASH_LOOP_RUN: Final = timedelta(minutes=10)
"""A run of this length clears earlier crashes; the kubelet's own backoff uses the same."""

_IMAGE_PROBLEMS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_CONTAINER_PROBLEMS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
_SHORT: Final = re.compile(r"Insufficient ([A-Za-z0-9./-]*[A-Za-z0-9])")


@dataclass(frozen=True, slots=True)
class Problem:
    """One word and one sentence: what is wrong, and what helps."""

    reason: str
    message: str


Rule = Callable[[Facts], Problem | None]


def find_problem(facts: Facts) -> Problem | None:
    """The first problem of the chain."""
    return next(filter(None, (rule(facts) for rule in RULES)), None)


def name_is_taken(facts: Facts) -> Problem | None:
    """Another object lies where a child should."""
    if not facts.changes.foreign:
        return None
    taken = ", ".join(facts.changes.foreign)
    return Problem("NameConflict", f"{taken} exists and is not this pool's: delete it, or give the pool another name")


def child_is_refused(facts: Facts) -> Problem | None:
    """The API server does not take a child as the pool asks for it."""
    return Problem(REFUSED, facts.refusals[0].words) if facts.refusals else None


def pods_are_refused(facts: Facts) -> Problem | None:
    """The API server does not let the Deployment create pods."""
    words = facts.deployment.creation_failure if facts.deployment else None
    if words is None:
        return None
    return Problem("QuotaExceeded" if "exceeded quota" in words else "FailedCreate", words)


def pod_says_why(facts: Facts) -> Problem | None:
    """The server itself left a reason: the model, its configuration or the device."""
    for pod in facts.starting:
        if pod.terminated and pod.terminated.is_start_error:
            return Problem(pod.terminated.reason, f"{pod.terminated.message} (pod {pod.name})")
    return None


def image_cannot_be_pulled(facts: Facts) -> Problem | None:
    """The node does not get the image."""
    return _waiting_for(facts, _IMAGE_PROBLEMS, "ImagePullFailed")


def container_cannot_be_made(facts: Facts) -> Problem | None:
    """For example a Secret is missing."""
    return _waiting_for(facts, _CONTAINER_PROBLEMS, "ContainerCreateFailed")


def server_crashes(facts: Facts) -> Problem | None:
    """The server ends again and again without a word."""
    for pod in facts.starting:
        ended = pod.terminated
        if ended is None or not _crashes_again_and_again(facts, pod):
            continue
        last_line = (ended.message.strip().splitlines() or [""])[-1]
        said = f": {last_line}" if last_line else ""
        return Problem(
            "CrashLoop",
            f"pod {pod.name} ended with exit code {ended.exit_code} ({ended.reason}), restarts: {pod.restarts}{said}",
        )
    return None


def rollout_needs_gpu(facts: Facts) -> Problem | None:
    """The new pods wait for a GPU that the former ones hold."""
    pod = _unscheduled_for_too_long(facts)
    surges = str(facts.pool.spec.rollout.max_surge) not in {"0", "0%"}
    gpu = facts.pool.spec.gpu.resource_name
    if pod is None or not facts.former or not surges or gpu not in short_resources(pod.unschedulable or ""):
        return None
    return Problem(
        "RolloutNeedsGPU",
        f"the rollout needs a spare {gpu} for pod {pod.name} and no node has one: free one, or set rollout.maxSurge: 0 "
        "and rollout.maxUnavailable: 1 to replace pods one at a time on the GPUs they have",
    )


def no_node_fits(facts: Facts) -> Problem | None:
    """The scheduler finds no node."""
    pod = _unscheduled_for_too_long(facts)
    if pod is None:
        return None
    words = pod.unschedulable or ""
    short = ", ".join(short_resources(words))
    what = f"{short} is short" if short else "no node fits"
    return Problem("Unschedulable", f"{what}: pod {pod.name} waits for a node; the scheduler says: {words}")


def rollout_is_stuck(facts: Facts) -> Problem | None:
    """Kubernetes gave up waiting, for a reason none of the above knows."""
    words = facts.deployment.deadline_exceeded if facts.deployment else None
    return Problem("ProgressDeadlineExceeded", words) if words is not None else None


RULES: Final[tuple[Rule, ...]] = (
    name_is_taken,
    child_is_refused,
    pods_are_refused,
    pod_says_why,
    image_cannot_be_pulled,
    container_cannot_be_made,
    server_crashes,
    rollout_needs_gpu,
    no_node_fits,
    rollout_is_stuck,
)


def short_resources(words: str) -> tuple[str, ...]:
    """The resources a scheduler's message says are insufficient, GPUs and the like before cpu and memory.

    The message is `0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. …` (kube-scheduler,
    `framework.FitError`).
    """
    return tuple(sorted(dict.fromkeys(_SHORT.findall(words)), key=lambda name: ("/" not in name, name)))


def next_scheduling_deadline(facts: Facts) -> datetime | None:
    """When the first pod that finds no node will have waited for too long, if that is still to come."""
    waiting = [pod.created_at + SCHEDULING_GRACE for pod in facts.starting if pod.unschedulable is not None]
    return min((due for due in waiting if due > facts.now), default=None)


def _unscheduled_for_too_long(facts: Facts) -> PodView | None:
    return next(
        (
            pod
            for pod in facts.starting
            if pod.unschedulable is not None and facts.age(pod.created_at) >= SCHEDULING_GRACE
        ),
        None,
    )


def _waiting_for(facts: Facts, reasons: frozenset[str], reason: str) -> Problem | None:
    for pod in facts.starting:
        if pod.waiting and pod.waiting.reason in reasons:
            return Problem(reason, f"{pod.waiting.message or pod.waiting.reason} (pod {pod.name})")
    return None


def _crashes_again_and_again(facts: Facts, pod: PodView) -> bool:
    if pod.waiting and pod.waiting.reason == "CrashLoopBackOff":
        return True
    # Between two crashes the container runs for a while: the pool must not seem well in these moments.
    short_run = pod.started_at is None or facts.age(pod.started_at) < CRASH_LOOP_RUN
    return pod.restarts >= CRASH_LOOP_RESTARTS and short_run
