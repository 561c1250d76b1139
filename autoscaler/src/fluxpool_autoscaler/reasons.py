"""Decisions in words: which signal, its value, its target, what it asks for, and what limited that."""

from collections.abc import Iterable

from fluxpool_autoscaler.decision import Limit, Proposal


def figure(value: float) -> str:
    """A number for people: one decimal at most, none where it says nothing."""
    return f"{value:.1f}".removesuffix(".0")


def percent(ratio: float) -> str:
    """A ratio for people."""
    return f"{figure(100 * ratio)} %"


def count(number: int, noun: str) -> str:
    """A number of things: 1 replica, 2 replicas."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sentence(winner: Proposal | None, noun: str, limits: Iterable[tuple[Limit, str]]) -> str:
    """What the winner asks for and why, then what limited it, in the order applied."""
    if winner is None or winner.number is None:
        said = "no ready pod has a sample that counts"
    else:
        said = f"{winner.because}: {count(winner.number, noun)} needed"
    return ", ".join([said, *(phrase for _, phrase in limits)])
