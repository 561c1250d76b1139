"""An image on its way from noise to latents, and the prompts that guide it."""

from dataclasses import dataclass, field
from functools import partial

import torch

from fluxpool_inference.worker.modulation import STEPS_AHEAD, Ahead


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A prompt, encoded.

    Attributes:
        embeddings: T5, 1 x text tokens x width.
        pooled: CLIP, 1 x width.
        truncated_tokens: T5 tokens that did not fit.
    """

    embeddings: torch.Tensor
    pooled: torch.Tensor
    truncated_tokens: int

    @property
    def size_bytes(self) -> int:
        """Of both tensors."""
        return self.embeddings.nbytes + self.pooled.nbytes

    def equals(self, other: "Conditioning") -> bool:
        """Whether both are the same bit by bit."""
        return torch.equal(self.embeddings, other.embeddings) and torch.equal(self.pooled, other.pooled)


@dataclass(slots=True)
class Trajectory:
    """An image between noise and latents.

    Attributes:
        latents: Packed, 1 x image tokens x 64.
        sigmas: steps + 1 values, the last of them 0, float32 on CPU.
        timesteps: steps values, float32 on CPU.
        guidance: Scale; None without guidance embedding.
        conditioning: Of its prompt.
        negative: Of its negative prompt; None without true CFG.
        true_cfg_scale: See `formulas.guided`.
        index: Steps done.
        ahead: What was computed of its steps to come.
        negative_ahead: The same of its negative prompt.
    """

    latents: torch.Tensor
    sigmas: torch.Tensor
    timesteps: torch.Tensor
    guidance: float | None
    conditioning: Conditioning
    negative: Conditioning | None = None
    true_cfg_scale: float = 1.0
    index: int = 0
    ahead: Ahead = field(default_factory=partial(Ahead, STEPS_AHEAD))
    negative_ahead: Ahead = field(default_factory=partial(Ahead, STEPS_AHEAD))

    @property
    def latent_bytes(self) -> int:
        """Of what is its own; its conditioning may be that of others too."""
        return self.latents.nbytes
