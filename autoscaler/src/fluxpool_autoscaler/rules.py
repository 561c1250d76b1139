"""The rules that ask for replicas. A rule is a function of what was observed and what the user wants; the largest wins.

These steer to targets: the user's, and for the queue depth what a pod carries where the user gave none. A rule that
does not apply (its target is not given) returns None; one that applies but has no data returns a proposal without a
number, and then nothing may shrink.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fluxpool_autoscaler.calculator import replicas_for_target
from fluxpool_autoscaler.census import take_census
from fluxpool_autoscaler.decision import Proposal
from fluxpool_autoscaler.observation import Observation, Signal, finite, gpu_utilization, queue_depth
from fluxpool_autoscaler.policy import Policy
from fluxpool_autoscaler.queue_target import default_queue_depth
from fluxpool_autoscaler.reasons import figure, percent

Rule = Callable[[Observation, Policy], Proposal | None]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A per-pod value with a target: its rule's name, its name for people, how to read it and how to show it."""

    rule: str
    name: str
    signal: Signal
    show: Callable[[float], str]


QUEUE_DEPTH = Gauge("queue_depth", "queue depth per replica", queue_depth, figure)
GPU_UTILIZATION = Gauge("gpu_utilization", "GPU utilization", gpu_utilization, percent)


def queue_depth_rule(observation: Observation, policy: Policy) -> Proposal:
    """Requests waiting and running on each replica, against the user's target or else what a pod carries."""
    target = policy.targets.queue_depth_per_replica
    if target is None:
        work = finite(observation.mean_request_work_seconds)
        target = default_queue_depth(take_census(observation), policy, work)
    return _towards(QUEUE_DEPTH, target, observation)


def gpu_utilization_rule(observation: Observation, policy: Policy) -> Proposal | None:
    """GPU utilization, only where the user gave a target.

    A batching GPU is as busy with one row as with eight: as a default rule this would climb to the maximum.
    """
    target = policy.targets.gpu_utilization_ratio
    return None if target is None else _towards(GPU_UTILIZATION, target, observation)


RULES: tuple[Rule, ...] = (queue_depth_rule, gpu_utilization_rule)


def propose(observation: Observation, policy: Policy) -> tuple[Proposal, ...]:
    """What every rule that applies asks for."""
    return tuple(proposal for rule in RULES if (proposal := rule(observation, policy)) is not None)


def largest(proposals: Iterable[Proposal]) -> Proposal | None:
    """The winner: the first of those that ask for the most; None when no rule has data."""
    asking = [proposal for proposal in proposals if proposal.number is not None]
    return max(asking, key=lambda proposal: proposal.number or 0, default=None)


def _towards(gauge: Gauge, target: float, observation: Observation) -> Proposal:
    census = take_census(observation)
    values = census.values(gauge.signal)
    number = replicas_for_target(
        values,
        target=target,
        current=observation.replicas,
        missing=census.ready - len(values),
        unready=census.unready,
    )
    if not values:
        return Proposal(gauge.rule, number, f"{gauge.name} is not known", target=target)
    mean = sum(values) / len(values)
    because = f"{gauge.name} is {gauge.show(mean)}, target {gauge.show(target)}"
    return Proposal(gauge.rule, number, because, mean, target)
