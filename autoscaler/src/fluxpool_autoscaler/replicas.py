"""The number of replicas: the largest need of all rules, held by windows, bounds and utilization, then paced."""

from dataclasses import replace

from fluxpool_autoscaler.census import age_limit_seconds, take_census
from fluxpool_autoscaler.decision import Limit, Proposal, Verdict
from fluxpool_autoscaler.knob import Knob, conclude
from fluxpool_autoscaler.memory import KnobMemory
from fluxpool_autoscaler.observation import Observation, gpu_utilization
from fluxpool_autoscaler.policy import Policy
from fluxpool_autoscaler.rails import Draft, bound, hold_by_window, pace, veto_by_utilization
from fluxpool_autoscaler.rules import largest, propose


def decide_replicas(
    observation: Observation, memory: KnobMemory, policy: Policy, now: float
) -> tuple[Verdict, KnobMemory]:
    """The verdict on the number of replicas, and what to remember of it."""
    memory = memory.in_mode(policy.mode)
    in_force = observation.replicas if memory.in_force is None else memory.in_force
    knob = Knob("replica", policy.mode, policy.bounds, in_force)
    observation = replace(observation, replicas=knob.base)
    proposals = propose(observation, policy)
    winner = largest(proposals)
    if winner is None or winner.number is None or _shrinks_in_the_dark(proposals, winner.number, knob.base):
        memory = replace(memory, blind=True)
        recommendation = paced = bound(_unmoved(in_force, winner), policy.bounds)
    else:
        longest_gap = min(age_limit_seconds(observation), policy.scale_down.window_seconds)
        memory = memory.with_need(now, winner.number, present=knob.base, longest_gap_seconds=longest_gap)
        stable = _stabilize(winner.number, knob.anchor(memory), memory, policy, now)
        recommendation = veto_by_utilization(bound(stable, policy.bounds), knob.base, _total_busy(observation))
        paced = pace(recommendation, knob.base, memory.changes, policy, now)
        memory = replace(memory, recommended=recommendation.number)
    return conclude(knob, memory, proposals, (recommendation, paced), now)


def _stabilize(need: int, anchor: int, memory: KnobMemory, policy: Policy, now: float) -> Draft:
    return hold_by_window(
        Draft(need),
        anchor,
        memory.needs,
        up_seconds=policy.scale_up.window_seconds,
        down_seconds=policy.scale_down.window_seconds,
        bounds=policy.bounds,
        now=now,
    )


def _shrinks_in_the_dark(proposals: tuple[Proposal, ...], need: int, base: int) -> bool:
    """True when the rules with data would shrink, and one without data might not."""
    return need < base and any(proposal.number is None for proposal in proposals)


def _unmoved(in_force: int, winner: Proposal | None) -> Draft:
    draft = Draft(in_force)
    if winner is None:
        return draft
    return draft.moved(in_force, Limit.HELD_BY_MISSING_METRICS, f"held at {in_force}, since another signal is missing")


def _total_busy(observation: Observation) -> float:
    """GPU utilization summed over the ready pods; one that does not tell counts as fully busy."""
    census = take_census(observation)
    values = census.values(gpu_utilization)
    return sum(values) + census.ready - len(values)
