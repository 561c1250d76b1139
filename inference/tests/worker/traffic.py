"""Random traffic for a loop: images of few kinds, so that stock makes each once, at any time and in any company.

In that company are images full of NaN, and others that fail, or find no memory, at some stage.
"""

from dataclasses import dataclass

from bench import Bench, image
from comparison import POISON, Comparison, Recorder
from hypothesis import strategies as st

from fluxpool_inference.values import ImageRequest, TrueCfg

SIZES = ((64, 64), (96, 64), (64, 96))
PASSING = ["oom once at step 1", "oom once at decode"]
"""Prompts of images that are made in the end."""
FAILING = [f"{kind} at {stage}" for kind in ("error", "oom") for stage in ("encode", "begin", "step 0", "decode")]
PROMPTS = ["a cat", "a dog", ""]


@dataclass(frozen=True)
class Arrival:
    """An image, so many turns after the one before; given up after so many more turns, if at all."""

    request: ImageRequest
    turns_before: int
    deadline: float
    cancel_after: int | None


@st.composite
def requests(draw: st.DrawFn, guidance: bool) -> ImageRequest:
    width, height = draw(st.sampled_from(SIZES))
    return image(
        draw(st.one_of(st.sampled_from(PROMPTS), st.sampled_from([POISON, *PASSING, *FAILING]))),
        seed=draw(st.integers(0, 2)),
        steps=draw(st.integers(1, 5)),
        width=width,
        height=height,
        guidance=draw(st.sampled_from([None, 1.0, 6.0])) if guidance else None,
        reproducible=draw(st.sampled_from([False, False, False, True])),
        true_cfg=draw(st.sampled_from([None, None, TrueCfg("", 3.3), TrueCfg("a dog", 1.5)])),
    )


def arrivals(guidance: bool, most: int = 6) -> st.SearchStrategy[list[Arrival]]:
    one = st.builds(
        Arrival,
        request=requests(guidance),
        turns_before=st.integers(0, 4),
        deadline=st.integers(0, 5).map(float),
        cancel_after=st.one_of(st.none(), st.none(), st.integers(0, 12)),
    )
    return st.lists(one, min_size=2, max_size=most)


def run(comparison: Comparison, traffic: list[Arrival], batch_sizes: list[int]) -> tuple[Bench, Recorder, list[int]]:
    """Play it turn by turn, with a new batch size at each arrival, until all is done; the numbers in order."""
    bench, recorder = comparison.bench(prompt_cache_bytes=20_000)  # holds two prompts of the three
    cancels: dict[int, list[int]] = {}
    numbers: list[int] = []
    now = 0

    def turn() -> None:
        nonlocal now
        for number in cancels.pop(now, ()):
            if bench.outcome(number) is None:
                bench.cancel(number)
        bench.turn()
        now += 1

    for index, arrival in enumerate(traffic):
        for _ in range(arrival.turns_before):
            turn()
        bench.set_batch_size(batch_sizes[index % len(batch_sizes)])
        numbers.append(bench.submit(arrival.request, deadline=arrival.deadline))
        if arrival.cancel_after is not None:
            cancels.setdefault(now + arrival.cancel_after, []).append(numbers[-1])
    while cancels:
        turn()
    bench.finish()
    return bench, recorder, numbers
