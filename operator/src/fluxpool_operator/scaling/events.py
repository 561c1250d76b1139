"""A change of a number in words, as an event."""

from collections.abc import Iterator

from fluxpool_autoscaler import Decision, Mode, Verdict
from fluxpool_operator.scaling.outcome import EventFact, Outcome


def last_change(decision: Decision, before: Outcome | None) -> EventFact | None:
    """The change this decision makes, else the last one, as long as the modes are what they were."""
    changes = list(_changes(decision, before.decision if before else None))
    if changes:
        return EventFact("Normal", changes[0][0], "; ".join(words for _, words in changes))
    return before.event if before and _modes(before.decision) == _modes(decision) else None


def _changes(decision: Decision, before: Decision | None) -> Iterator[tuple[str, str]]:
    """Reason and words of each number that changes; a pool that has no replicas yet begins, which is no change."""
    yield from _change("replicas", decision.replicas, before.replicas if before else None, ("ScaledUp", "ScaledDown"))
    names = ("BatchSizeRaised", "BatchSizeLowered")
    yield from _change("batch size", decision.batch_size, before.batch_size if before else None, names)


def _change(noun: str, verdict: Verdict, before: Verdict | None, reasons: tuple[str, str]) -> Iterator[tuple[str, str]]:
    up, down = reasons
    if verdict.changed and verdict.previous:
        reason = up if verdict.desired > verdict.previous else down
        yield reason, f"{noun} {verdict.previous} -> {verdict.desired}: {verdict.reason}"
    elif verdict.mode is Mode.RECOMMEND and verdict.recommended != (before.recommended if before else None):
        yield "Recommended", f"{noun} {verdict.recommended}: {verdict.reason}"


def _modes(decision: Decision) -> tuple[Mode, Mode]:
    return decision.replicas.mode, decision.batch_size.mode
