"""How many prompts the text encoders take in one forward.

A prompt's embedding is remembered, and an image must not depend on who waited beside it when its prompt was encoded. So
prompts share a forward only in numbers at which the device computes each as it does alone, bit by bit, which is found
out at start: kernels are chosen by the shapes of their operands, and those do not depend on what the prompts say.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from fluxpool_inference.worker.denoiser import Denoiser

if TYPE_CHECKING:
    from fluxpool_inference.worker.trajectory import Conditioning

_MOST = 8
_PROMPTS = tuple(f"a photograph of {what} at dawn" for what in ("a fox", "two boats", "rain", "a very old oak tree"))

T = TypeVar("T")


def prompts_together(model: Denoiser, text_tokens: int, most: int) -> tuple[int, ...]:
    """The numbers, at most 8 and `most`, in which each gives the same as alone; 1 is one of them. The least first.

    Raises what the model raises on one prompt; out of memory on more is no error.
    """
    alone = [model.encode([prompt], text_tokens)[0] for prompt in _PROMPTS]
    numbers = [1]
    for prompts in range(2, min(most, _MOST) + 1):
        same = _same(model, text_tokens, alone, prompts)
        if same is None:
            break
        if same:
            numbers.append(prompts)
    return tuple(numbers)


def _same(model: Denoiser, text_tokens: int, alone: "list[Conditioning]", prompts: int) -> bool | None:
    """Whether so many prompts come out as each does alone; None if memory does not hold them."""
    try:
        found = model.encode([_PROMPTS[k % len(_PROMPTS)] for k in range(prompts)], text_tokens)
    except Exception as error:
        if not model.is_out_of_memory(error):
            raise
        out_of_memory = True
    else:
        out_of_memory = False
    if out_of_memory:
        model.recover()
        return None
    return all(one.equals(alone[k % len(alone)]) for k, one in enumerate(found))


def as_many_as(waiting: list[T], numbers: Iterable[int]) -> list[T]:
    """The first of `waiting`: as many of them as the largest of `numbers` that there are."""
    return waiting[: max((number for number in numbers if number <= len(waiting)), default=0)]


def of_new_needs(needs: Iterable[tuple[T, list[str]]]) -> list[T]:
    """Those that need a prompt which none before them needs."""
    found: list[T] = []
    known: set[str] = set()
    for one, prompts in needs:
        if not known.issuperset(prompts):
            found.append(one)
            known.update(prompts)
    return found
