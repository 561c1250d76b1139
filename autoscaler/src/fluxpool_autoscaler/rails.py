"""What stands between a need and a number: windows, bounds, utilization, pace.

Each rail takes a draft and what it judges by, and returns the draft, moved or not. `decide_replicas` and
`decide_batch_size` run them one after another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fluxpool_autoscaler.calculator import ceil
from fluxpool_autoscaler.decision import Limit
from fluxpool_autoscaler.memory import Change, Needs
from fluxpool_autoscaler.pace import highest_allowed, lowest_allowed
from fluxpool_autoscaler.policy import Bounds, Policy
from fluxpool_autoscaler.reasons import percent

UTILIZATION_CEILING = 0.9


@dataclass(frozen=True, slots=True)
class Draft:
    """A number on its way, and what has limited it so far, with the words for it."""

    number: int
    limits: tuple[tuple[Limit, str], ...] = ()

    def moved(self, number: int, limit: Limit, phrase: str) -> "Draft":
        """The draft at another number, with the limit that put it there."""
        return Draft(number, (*self.limits, (limit, phrase)))


def hold_by_window(
    draft: Draft, anchor: int, needs: Needs, *, up_seconds: float, down_seconds: float, bounds: Bounds, now: float
) -> Draft:
    """Up to no more than the lowest need of the up window, down to no less than the highest of the down window.

    Between the two `anchor` stays, as in HPA's stabilizeRecommendationWithBehaviors. It is called a limit only where
    the bounds leave a difference.
    """
    need = draft.number
    lowest, highest = needs.lowest(now, up_seconds), needs.highest(now, down_seconds)
    floor = need if lowest is None else min(need, lowest)
    ceiling = need if highest is None else max(need, highest)
    held = min(max(anchor, floor), ceiling)
    if bounds.clamp(held) == bounds.clamp(need):
        return Draft(held, draft.limits)
    extreme, seconds = ("largest", down_seconds) if held > need else ("smallest", up_seconds)
    phrase = f"held at {bounds.clamp(held)} by the {extreme} need of the last {seconds:g} s"
    return draft.moved(held, Limit.HELD_BY_WINDOW, phrase)


def bound(draft: Draft, bounds: Bounds) -> Draft:
    """Within the minimum and the maximum."""
    number = bounds.clamp(draft.number)
    if number < draft.number:
        return draft.moved(number, Limit.AT_MAXIMUM, f"limited to {number}, the maximum")
    if number > draft.number:
        return draft.moved(number, Limit.AT_MINIMUM, f"raised to {number}, the minimum")
    return draft


def veto_by_utilization(draft: Draft, base: int, busy: float) -> Draft:
    """Never down to where the work of now would keep the remaining GPUs busier than 90 %.

    `busy` is GPU utilization (0 to 1) summed over the ready pods.
    """
    floor = min(base, ceil(busy / UTILIZATION_CEILING))
    if draft.number >= floor:
        return draft
    phrase = f"held at {floor}, since {draft.number} would be {percent(busy / draft.number)} busy"
    return draft.moved(floor, Limit.HELD_BY_UTILIZATION, phrase)


def pace(draft: Draft, base: int, changes: Sequence[Change], policy: Policy, now: float) -> Draft:
    """No faster than the rate policies allow."""
    lowest = lowest_allowed(base, changes, policy.scale_down, now)
    highest = highest_allowed(base, changes, policy.scale_up, now)
    number = min(max(draft.number, lowest), highest)
    if number == draft.number:
        return draft
    return draft.moved(number, Limit.LIMITED_BY_RATE, f"limited to {number} for now by the rate policies")
