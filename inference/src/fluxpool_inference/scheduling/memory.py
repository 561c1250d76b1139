"""How many rows fit into the device's memory, and of which sizes not even one: measured at warm-up at one size.

What a step holds at its peak is the most that any one operation of it holds, and each of those is affine in the tokens
of all rows together: products and activations have a row per token, and attention as it is computed here (flash,
memory-efficient, cuDNN) keeps no matrix of scores, so its memory is linear too (Dao et al., "FlashAttention", 2022,
theorem 1). The largest of affine functions is convex, so the steepest slope between measured points is that of larger
steps: `PeakLine` goes on with it, and is below no point that was measured.

Decoding is convolutional: linear in the pixels. In tiles it holds one tile, and of the whole image only colours. A
`Memory` is of one process, and there is none where the device's memory is not measured (a CPU).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import LATENT_MULTIPLE

RESERVED_SHARE = 0.05
"""Of the device: kept free for what is not measured, such as holes between allocations and what libraries take."""

_COLOUR_BYTES = 128
"""Of one pixel beside the tile in hand: three colours, in at most ten copies of 32 bits while tiles are joined."""
_PIXELS = LATENT_MULTIPLE**2


@dataclass(frozen=True, slots=True)
class Space:
    """Of a whole device: what nobody has, and all there is."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class PeakLine:
    """bytes(tokens) = fixed_bytes + token_bytes * tokens, over the tokens of all rows of a step."""

    fixed_bytes: float
    token_bytes: float

    @classmethod
    def over(cls, samples: Iterable[tuple[int, int]]) -> "PeakLine":
        """The lowest line with the steepest slope between neighbours that no (tokens, bytes) is above.

        One sample alone is taken to be all per token.
        """
        points = sorted(samples)
        slopes = [(after - before) / (more - fewer) for (fewer, before), (more, after) in pairwise(points)]
        slope = max(slopes, default=points[0][1] / points[0][0])
        slope = max(slope, 0.0)
        return cls(max(0.0, *(size - slope * tokens for tokens, size in points)), slope)

    def at(self, tokens: float) -> float:
        """Bytes of so many tokens."""
        return self.fixed_bytes + self.token_bytes * tokens

    def tokens(self, room_bytes: float) -> float:
        """Tokens of so many bytes, each of at least one; below 0 if the fixed part alone has more."""
        return (room_bytes - self.fixed_bytes) / max(self.token_bytes, 1.0)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one worker measured of its device's memory, in bytes beyond what rests there (weights, graphs).

    Attributes:
        reference: The bucket that was measured.
        step: Peak of a step.
        encode_bytes: Peak of encoding as many prompts of the reference's text length as ever share a forward.
        decode_bytes: Peak of decoding one image of the reference's size.
        latent_bytes: Of one image token of an image in flight.
        text_bytes: Of one text token of the same.
        row_bytes: Of the same whatever its size: modulations of steps to come.
        tile_pixels: Of one tile, where larger images are decoded in tiles; else None.
        room_bytes: Free while nothing is in flight, but for the reserve; see `within`.
    """

    reference: Bucket
    step: PeakLine
    encode_bytes: int
    decode_bytes: int
    latent_bytes: float
    text_bytes: float
    row_bytes: int = 0
    tile_pixels: int | None = None
    room_bytes: int = 0

    def within(self, space: Space, cache_bytes: int) -> "Memory":
        """The same with the room of a device whose `space` is as it is at the end of warm-up.

        `RESERVED_SHARE` of the device is kept, and `cache_bytes`, to which the cache of prompts may grow. The size that
        was made at warm-up is never refused: it did fit.
        """
        room_bytes = space.free_bytes - RESERVED_SHARE * space.total_bytes - cache_bytes
        return replace(self, room_bytes=math.ceil(max(room_bytes, self.needed_bytes(self.reference))))

    def image_bytes(self, bucket: Bucket) -> float:
        """What a row in flight keeps on the device between its steps: latents, embeddings and modulations."""
        return self.latent_bytes * bucket.image_tokens + self.text_bytes * bucket.text_tokens + self.row_bytes

    def step_bytes(self, bucket: Bucket, rows: int) -> float:
        """Peak of one step."""
        return self.step.at(rows * bucket.tokens)

    def image_decode_bytes(self, bucket: Bucket) -> float:
        """Peak of decoding one image."""
        measured, tile = self.reference.pixels, self.tile_pixels
        if tile is None or max(measured, bucket.pixels) <= tile:
            return self.decode_bytes * bucket.pixels / measured
        if measured <= tile:
            return self.decode_bytes * tile / measured + _COLOUR_BYTES * bucket.pixels
        # What was measured is one tile and the colours of the reference: no less than what a smaller image takes.
        return self.decode_bytes + _COLOUR_BYTES * max(0, bucket.pixels - measured)

    def needed_bytes(self, bucket: Bucket) -> float:
        """The most that one image alone takes, from its prompt to its pixels, with what it keeps meanwhile."""
        largest = max(self.step_bytes(bucket, 1), self.image_decode_bytes(bucket), self._prompt_bytes(bucket))
        return largest + self.image_bytes(bucket)

    def rows(self, bucket: Bucket, in_flight_bytes: float = 0.0) -> int:
        """How many rows of a bucket fit into one step beside what is in flight; 0 if not even one does."""
        return max(0, math.floor(self.step.tokens(self.room_bytes - in_flight_bytes) / bucket.tokens))

    def holds(self, bucket: Bucket) -> bool:
        """Whether one image of this size can be made while nothing else is in flight."""
        return self.needed_bytes(bucket) <= self.room_bytes

    def largest_pixels(self, text_tokens: int) -> int:
        """Of the largest image that can be made. The shape does not matter: only tokens count."""
        low, high = 0, self._most_image_tokens()
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.holds(Bucket(1, middle, text_tokens)) else (low, middle - 1)
        return low * _PIXELS

    def _most_image_tokens(self) -> int:
        """More than this many have no room for their latents alone."""
        return int(self.room_bytes / max(self.latent_bytes, 1.0))

    def _prompt_bytes(self, bucket: Bucket) -> float:
        """Peak of encoding. T5 computes its scores, which are quadratic in the text's length; shorter is no less."""
        return self.encode_bytes * max(1.0, bucket.text_tokens / self.reference.text_tokens) ** 2


def too_large(memory: Memory, bucket: Bucket) -> str | None:
    """Why no image of this size can be made, to complete a sentence that begins with the size's name; None if one can.

    It names the size, what it takes, and what is possible.
    """
    if memory.holds(bucket):
        return None
    width, height = LATENT_MULTIPLE * bucket.width, LATENT_MULTIPLE * bucket.height
    largest, needed = memory.largest_pixels(bucket.text_tokens), memory.needed_bytes(bucket)
    return (
        f"must have at most {largest} pixels (width x height) on this server's device, and is {width}x{height} with "
        f"{bucket.pixels}: it takes {needed / 1e9:.1f} GB of memory, of which {memory.room_bytes / 1e9:.1f} are free"
    )
