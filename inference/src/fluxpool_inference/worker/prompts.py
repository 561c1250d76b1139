"""Remembers the embeddings of recent prompts, up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that knows its size."""

    @property
    def size_bytes(self) -> int: ...  # noqa: D102


V = TypeVar("V", bound=Sized)


class PromptCache(Generic[V]):
    """Least recently used goes first. The key holds all that changes an embedding: the prompt and the text length."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[tuple[str, int], V] = OrderedDict()
        self.size_bytes = 0

    def get(self, prompt: str, text_tokens: int) -> V | None:
        """What `put` was given last for this prompt and length; None if it is not remembered."""
        entry = self._entries.get((prompt, text_tokens))
        if entry is not None:
            self._entries.move_to_end((prompt, text_tokens))
        return entry

    def missing(self, prompts: Iterable[str], text_tokens: int) -> list[str]:
        """Those of the prompts that are not remembered, each once."""
        return [prompt for prompt in dict.fromkeys(prompts) if self.get(prompt, text_tokens) is None]

    def put(self, prompt: str, text_tokens: int, value: V) -> None:
        """Remember `value`, unless it alone is larger than the limit."""
        key = (prompt, text_tokens)
        if (old := self._entries.pop(key, None)) is not None:
            self.size_bytes -= old.size_bytes
        if value.size_bytes > self._limit_bytes:
            return
        self._entries[key] = value
        self.size_bytes += value.size_bytes
        while self.size_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.size_bytes -= oldest.size_bytes
