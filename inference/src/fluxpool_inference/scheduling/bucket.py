"""Which images can share one forward of the transformer.

In one forward, latents, text embeddings, timestep and guidance are per row; position ids are shared. So rows share a
forward when they share the latent grid (height and width, not only their product: the ids differ) and the number of
text tokens.
"""

from dataclasses import dataclass
from typing import Self

from fluxpool_inference.values import LATENT_MULTIPLE, ImageRequest


@dataclass(frozen=True, slots=True)
class Bucket:
    """Rows of one bucket may run in one step. `height` and `width` count packed latents, 16 x 16 pixels each."""

    height: int
    width: int
    text_tokens: int

    @classmethod
    def of(cls, request: ImageRequest, default_text_tokens: int) -> Self:
        """The bucket of a request, with the pool's text length where it names none."""
        return cls.of_size(request.width, request.height, request.max_sequence_length or default_text_tokens)

    @classmethod
    def of_size(cls, width: int, height: int, text_tokens: int) -> Self:
        """The bucket of an image of `width` x `height` pixels."""
        return cls(height // LATENT_MULTIPLE, width // LATENT_MULTIPLE, text_tokens)

    @property
    def image_tokens(self) -> int:
        """Packed latents of one image."""
        return self.height * self.width

    @property
    def tokens(self) -> int:
        """The length of the joint sequence of text and image."""
        return self.image_tokens + self.text_tokens

    @property
    def pixels(self) -> int:
        """Pixels of one image."""
        return self.image_tokens * LATENT_MULTIPLE**2
