"""The pixels of one finished image, in memory shared with the worker."""

from collections.abc import Callable
from mmap import mmap
from types import TracebackType
from typing import Self

from fluxpool_inference.values import ImageRequest, Timings


class RawImage:
    """A context manager over shared memory; `with await ticket.result() as image: encode(image.pixels)`.

    The memory is anonymous and belongs to whoever maps it: it goes when both processes have let go of it, however they
    end.

    Attributes:
        request: What was asked for.
        timings: Where the time went.
        truncated_tokens: T5 tokens of the prompt that did not fit and had no effect.
        negative_truncated_tokens: The same of the negative prompt; 0 without.
    """

    def __init__(
        self,
        memory: mmap,
        request: ImageRequest,
        timings: Timings,
        truncated_tokens: int,
        negative_truncated_tokens: int = 0,
        *,
        on_release: Callable[[], None] = lambda: None,
    ) -> None:
        shape = (request.height, request.width, 3)
        self._pixels: memoryview | None = memoryview(memory).toreadonly().cast("B", shape)
        self.request = request
        self.timings = timings
        self.truncated_tokens = truncated_tokens
        self.negative_truncated_tokens = negative_truncated_tokens
        self._on_release = on_release

    @property
    def pixels(self) -> memoryview:
        """Height x width x 3 bytes (RGB), read-only and contiguous. Raises ValueError after `release`."""
        if self._pixels is None:
            raise ValueError("the image was released")
        return self._pixels

    def release(self) -> None:
        """Let go of the memory: it is unmapped as soon as no view of `pixels` is left. Idempotent."""
        if self._pixels is not None:
            self._pixels = None
            self._on_release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
