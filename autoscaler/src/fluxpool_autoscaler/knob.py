"""What the two knobs have in common: from a draft to a verdict, by the mode that says who owns the number."""

from dataclasses import dataclass, replace

from fluxpool_autoscaler.decision import Proposal, Verdict
from fluxpool_autoscaler.memory import KnobMemory
from fluxpool_autoscaler.policy import Bounds, Mode
from fluxpool_autoscaler.rails import Draft
from fluxpool_autoscaler.reasons import sentence
from fluxpool_autoscaler.rules import largest


@dataclass(frozen=True, slots=True)
class Knob:
    """One of the two numbers of a pool.

    Attributes:
        noun: what it counts, in the singular.
        mode: who owns it.
        bounds: its range.
        in_force: the number that rules now.
    """

    noun: str
    mode: Mode
    bounds: Bounds
    in_force: int

    @property
    def base(self) -> int:
        """The number in force, brought within the bounds: they apply at once, and without any data."""
        return self.bounds.clamp(self.in_force)

    def anchor(self, memory: KnobMemory) -> int:
        """What a window holds: the number in force where it follows the autoscaler, else the last recommendation."""
        return self.base if self.mode is Mode.AUTO or memory.recommended is None else memory.recommended


def conclude(
    knob: Knob, memory: KnobMemory, proposals: tuple[Proposal, ...], drafts: tuple[Draft, Draft], now: float
) -> tuple[Verdict, KnobMemory]:
    """The verdict, and the memory with the number that is in force from now on.

    Args:
        knob: the number in question.
        memory: with this moment's need and recommendation, if there were any.
        proposals: of every rule.
        drafts: the number before the pace (the recommendation) and after it, each with its limits.
        now: seconds, monotonic.
    """
    auto = knob.mode is Mode.AUTO
    recommendation, paced = drafts
    recommended = None if memory.recommended is None else knob.bounds.clamp(memory.recommended)
    without_auto = knob.base if knob.mode is Mode.HOLD or recommended is None else recommended
    desired = paced.number if auto else without_auto
    limits = (paced if auto else recommendation).limits
    winner = largest(proposals)
    verdict = Verdict(
        mode=knob.mode,
        desired=desired,
        recommended=recommended,
        previous=knob.in_force,
        proposals=proposals,
        winner=None if winner is None else winner.rule,
        limits=tuple(limit for limit, _ in limits),
        reason=sentence(winner, knob.noun, limits),
    )
    if auto:
        memory = replace(memory.with_change(now, desired - knob.in_force), in_force=desired)
    return verdict, memory
