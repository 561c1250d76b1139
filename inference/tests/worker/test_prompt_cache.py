"""The cache of embeddings, by bytes."""

from dataclasses import dataclass

import pytest

from fluxpool_inference.worker.prompts import PromptCache


@dataclass(frozen=True)
class Sized:
    size_bytes: int
    name: str = ""


@pytest.fixture
def cache() -> PromptCache[Sized]:
    return PromptCache(100)


def test_it_remembers_by_prompt_and_text_length(cache: PromptCache[Sized]) -> None:
    cache.put("a", 16, Sized(10, "short"))
    cache.put("a", 32, Sized(10, "long"))
    assert cache.get("a", 16) == Sized(10, "short")
    assert cache.get("a", 32) == Sized(10, "long")
    assert cache.get("b", 16) is None


def test_what_was_not_used_longest_goes_first(cache: PromptCache[Sized]) -> None:
    for prompt in "abc":
        cache.put(prompt, 16, Sized(30))
    cache.get("a", 16)
    cache.put("d", 16, Sized(50))
    assert [prompt for prompt in "abcd" if cache.get(prompt, 16)] == ["a", "d"]
    assert cache.size_bytes == 80


def test_what_is_put_again_counts_once(cache: PromptCache[Sized]) -> None:
    for size in (30, 60, 20):
        cache.put("a", 16, Sized(size))
    assert cache.size_bytes == 20
    assert cache.get("a", 16) == Sized(20)


def test_what_alone_is_larger_than_the_limit_is_not_kept_and_drives_out_only_itself(cache: PromptCache[Sized]) -> None:
    cache.put("a", 16, Sized(30))
    cache.put("b", 16, Sized(30))
    cache.put("b", 16, Sized(101))
    assert cache.get("a", 16) is not None
    assert cache.get("b", 16) is None
    assert cache.size_bytes == 30


def test_a_limit_of_0_keeps_nothing() -> None:
    cache: PromptCache[Sized] = PromptCache(0)
    cache.put("a", 16, Sized(1))
    assert cache.get("a", 16) is None
