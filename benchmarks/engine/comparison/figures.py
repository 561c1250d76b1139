"""What was measured, to what it says: ratios with intervals, and the aims. Pure.

A cell's rounds are dicts of one sample per side, as `measure.Sample.as_dict` has them, and of the life of the sides'
processes in which they were measured, beside what else is known of them. Each ratio is ours over theirs, round by
round; its median has a bootstrap 95 % interval over lives. The best peer is the one against which we look worst.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from record import Aim, at_least, at_most, reported

from comparison.cells import BARE, LOCK, MAX_QUEUE_SECONDS, OURS, POOL, SHORT_STEPS
from comparison.overload import kept_waits, relative_errors
from fluxpool_bench.summary import Comparison, compare, quantile
from fluxpool_demo.record import Pacing
from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT

Rounds = Sequence[Mapping[str, Any]]
LEAST_PAIRS = 10
LEAST_LIVES = 5
"""Whole lives are drawn for an interval, so it is never wider than from the least to the greatest of them.

Between the extremes of n equal draws the median lies with probability 1 - 2^(1-n) (the sign test): of six, which
`fluxpool_bench.summary` asks of independent pairs and the command has by default, in 97 % of cases, of four in 88 %,
and of one never, however many rounds it had. Five have 94 %: that is let pass for a 95 % interval, and README.md says
what it means for cells that have no more.
"""


def figure(sample: Mapping[str, Any], name: str) -> float | None:
    """`throughput`, `p50`, `p99`, or `short`: the median latency of the requests of the fewest steps."""
    if name != "short":
        value: float | None = sample[name]
        return value
    shortest = [value for kind, value in sample["p50_by_kind"].items() if f", {SHORT_STEPS} steps" in kind]
    return shortest[0] if shortest else None


def against(rounds: Rounds, peer: str, name: str) -> Comparison | None:
    """Ours against a peer; None where not both were measured."""
    found = [
        (one["life"], (ours, theirs))
        for one in rounds
        if OURS in one and peer in one
        for ours, theirs in [(figure(one[OURS], name), figure(one[peer], name))]
        if ours is not None and theirs
    ]
    if not found:
        return None
    of_life, pairs = zip(*found, strict=True)
    return compare(pairs, higher_is_better=name == "throughput", lives=of_life)


def peers(rounds: Rounds) -> list[str]:
    """All sides but ours, in the order in which they first came."""
    return [name for name in sides(rounds) if name != OURS]


def sides(rounds: Rounds) -> list[str]:
    """All sides, in the order in which they first came."""
    return list(dict.fromkeys(name for one in rounds for name, sample in one.items() if isinstance(sample, Mapping)))


def servers(rounds: Rounds) -> list[str]:
    """The peers that serve."""
    return [name for name in peers(rounds) if name != BARE]


def comparisons(rounds: Rounds, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Every peer, every figure that means something of it."""
    for peer in peers(rounds):
        for name in names:
            found = against(rounds, peer, name) if peer != BARE or name == "throughput" else None
            if found is not None:
                yield {
                    "against": peer,
                    "figure": name,
                    "pairs": found.pairs,
                    "ratio": round(found.ratio, 4),
                    "interval": [round(found.low, 4), round(found.high, 4)],
                    "verdict": found.verdict,
                }


def suffice(rounds: Rounds) -> bool:
    """Whether there are enough of them, in enough lives, for an interval to mean something."""
    return len(rounds) >= LEAST_PAIRS and lives(rounds) >= LEAST_LIVES


def lives(rounds: Rounds) -> int:
    """How often the sides were started."""
    return len({one["life"] for one in rounds})


def worst(rounds: Rounds, name: str, among: Iterable[str] | None = None) -> Comparison | None:
    """The comparison with the best peer for this figure, among all servers unless some are named."""
    found = [
        one
        for peer in (servers(rounds) if among is None else among)
        if (one := against(rounds, peer, name)) is not None
    ]
    best = min if name == "throughput" else max
    return best(found, key=lambda one: one.ratio) if found else None


def uniform_aims(tiny: Rounds, small: Rounds, small_original: Rounds) -> list[Aim]:
    """Of the cells with eight equal requests at once, on both models.

    On the larger one both modes of the original design have a cell of their own, with the same load.
    """
    cells = (tiny, small, small_original)
    found = [against(rounds, peer, "throughput") for rounds in cells for peer in servers(rounds)]
    ratios = [one.ratio for one in found if one is not None] if all(cells) else []
    ahead = bool(ratios) and all(one is not None and one.verdict == "ahead" for one in found)
    return [
        at_least("uniform_c8_vs_bare", 0.90, _value(against(small, BARE, "throughput"))),
        Aim("uniform_c8_vs_best_peer", "ahead (interval above 1)", _rounded(min(ratios, default=None)), met=ahead),
    ]


def mixed_aims(rounds: Rounds) -> list[Aim]:
    """Of the cell with mixed steps."""
    return [
        at_most("mixed_short_median_vs_best_peer", 0.25, _value(worst(rounds, "short"))),
        at_least("mixed_throughput_vs_best_peer", 1.3, _value(worst(rounds, "throughput"))),
    ]


def original_aims(tiny: Rounds, small: Rounds) -> list[Aim]:
    """Against the better mode of the original design; on the larger model whatever it is."""
    modes = (LOCK, POOL)
    return [
        at_least("original_throughput", 5, _value(worst(tiny, "throughput", modes))),
        at_most("original_latency", 0.5, _value(worst(tiny, "p50", modes))),
        reported("original_throughput, 36 M parameters", _value(worst(small, "throughput", modes))),
        reported("original_latency, 36 M parameters", _value(worst(small, "p50", modes))),
    ]


def overload_aims(rounds: Rounds, paced: Rounds) -> list[Aim]:
    """Goodput counts only where, in every round, what was admitted was answered within what was promised.

    A paced device shows what the control does, and no speed: its figures are reported, if its pace was held.
    """
    goodput = at_least("overload_goodput", 0.9, _median(rounds, "goodput"))
    in_bound = all(one["p99_over_bound"] <= 1 for one in rounds)
    found = [
        Aim(goodput.name, f"{goodput.aim}, p99 in bound", goodput.value, met=bool(goodput.met) and in_bound),
        at_most("wait_estimate_error", 0.2, _error_of_waits(rounds)),
        *_promises("overload", rounds),
    ]
    if paced:
        found += [
            reported("overload_paced: goodput", _median(paced, "goodput")),
            reported("overload_paced: wait estimate error", _error_of_waits(paced)),
            *_promises("overload_paced", paced),
            at_most("overload_paced: share of steps that overran their pace", OVERRUN_SHARE_LIMIT, _overran(paced)),
        ]
    return found


def _promises(cell: str, rounds: Rounds) -> Iterator[Aim]:
    """How well what was promised to the admitted was kept."""
    if rounds:
        name = f"{cell}: p99 of the admitted over max_queue_seconds + own time"
        yield reported(f"{name}, worst round", _worst(rounds, "p99_over_bound"))
        yield reported(f"{name}, median round", _median(rounds, "p99_over_bound"))
        yield reported(f"{name} of a batch's median image, worst round", _worst(rounds, "p99_over_median_bound"))
        waits = [quantile([wait for _, wait in kept_waits(one["waits"])], 0.99) or 0.0 for one in rounds]
        value = _rounded(max(waits) / MAX_QUEUE_SECONDS)
        yield reported(f"{cell}: p99 of the waits over max_queue_seconds, worst round", value)


def _median(rounds: Rounds, name: str) -> float | None:
    return _rounded(statistics.median(one[name] for one in rounds) if rounds else None)


def _worst(rounds: Rounds, name: str) -> float | None:
    return _rounded(max(one[name] for one in rounds))


def _overran(rounds: Rounds) -> float | None:
    """Of the rounds in which it was counted; the first that are recorded are older than that."""
    counted = [one for one in rounds if "paced_steps" in one]
    steps, overruns = (sum(one[name] for one in counted) for name in ("paced_steps", "pace_overruns"))
    return round(Pacing(steps, overruns).overrun_share, 4) if steps else None


def _error_of_waits(rounds: Rounds) -> float | None:
    errors = sorted(relative_errors([pair for one in rounds for pair in kept_waits(one["waits"])]))
    return _rounded(errors[len(errors) // 2] if errors else None)


def _value(found: Comparison | None) -> float | None:
    return None if found is None else _rounded(found.ratio)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
