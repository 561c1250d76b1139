"""A FLUX transformer that is told its modulations and its rotary embeddings, instead of computing them in every step.

Blocks shift, scale and gate what they normalise (adaptive layer norm: Peebles and Xie, "Scalable Diffusion Models with
Transformers", 2023) by a linear function of timestep, guidance and pooled text. No pixel has a say in it, so it is
known for every step as soon as an image begins; and a step reads the weights of it, over a quarter of FLUX.1's, for a
single token per image. Computed for several steps at once they are read once for all of these, and a step has two
small kernels fewer per layer norm. Rotary embeddings depend on positions alone, and are those of all images of a size.

The weights stay where they are, under the names that files, quantization and adapters know; only what runs changes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.normalization import AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle

STEPS_AHEAD = 4
"""How many steps an image's modulations are computed for at once: those of FLUX.1 take 2 MB a step in 16 bits."""

Five = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class _OfImage(AdaLayerNormZero):  # type: ignore[misc]  # without types
    """The first norm of a double block, for image tokens: its modulation is the first half of what the block gets."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> Five:
        return _modulated(self, x, emb.chunk(2, dim=1)[0])


class _OfText(AdaLayerNormZero):  # type: ignore[misc]  # without types
    """The same for text tokens: the second half."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> Five:
        return _modulated(self, x, emb.chunk(2, dim=1)[1])


class _OfBoth(AdaLayerNormZeroSingle):  # type: ignore[misc]  # without types
    """The norm of a single block."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift, scale, gate = emb.chunk(3, dim=1)
        return self.norm(x) * (1 + scale[:, None]) + shift[:, None], gate


class _Last(AdaLayerNormContinuous):  # type: ignore[misc]  # without types
    """The norm behind the blocks."""

    def forward(self, x: torch.Tensor, conditioning_embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = conditioning_embedding.chunk(2, dim=1)
        normed: torch.Tensor = self.norm(x) * (1 + scale)[:, None, :] + shift[:, None, :]
        return normed


def _modulated(norm: AdaLayerNormZero, x: torch.Tensor, modulation: torch.Tensor) -> Five:
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation.chunk(6, dim=1)
    return norm.norm(x) * (1 + scale[:, None]) + shift[:, None], gate, shift_mlp, scale_mlp, gate_mlp


class ModulatedTransformer(FluxTransformer2DModel):  # type: ignore[misc]  # without types
    """Made of a loaded transformer by `modulated`. Every operation is that of diffusers, and in its order."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        modulations: torch.Tensor,
        rotary: torch.Tensor,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """The velocity of each row, rows x image tokens x 64; in a tuple, unless `return_dict`.

        Args:
            hidden_states: Packed latents, rows x image tokens x 64.
            encoder_hidden_states: Of T5, rows x text tokens x width.
            modulations: See `modulations`; one row for each row.
            rotary: See `rotary`.
            return_dict: As of diffusers' models.
        """
        image, text = self.x_embedder(hidden_states), self.context_embedder(encoder_hidden_states)
        *of_blocks, last = torch.split(modulations, self._widths(), dim=1)
        cos, sin = rotary
        blocks = (*self.transformer_blocks, *self.single_transformer_blocks)
        for number, (block, modulation) in enumerate(zip(blocks, of_blocks, strict=True)):
            if number == len(self.transformer_blocks):
                text, image = _side_by_side(text, image)
            text, image = block(
                hidden_states=image,
                encoder_hidden_states=text,
                temb=modulation,
                image_rotary_emb=(cos, sin),
                joint_attention_kwargs=None,
            )
        velocity = self.proj_out(self.norm_out(image, last))
        return Transformer2DModelOutput(sample=velocity) if return_dict else (velocity,)

    def modulations(
        self, timesteps: torch.Tensor, guidance: Sequence[float] | None, pooled: torch.Tensor
    ) -> torch.Tensor:
        """What all layer norms are modulated by, at each of these steps: steps x the width of all together.

        Args:
            timesteps: From 0 to 1000, float32.
            guidance: Scales; None without guidance embedding.
            pooled: Text of CLIP, steps x width.
        """
        # As `FluxPipeline` and the transformer hand on: rounded to the type of the latents, divided, multiplied again.
        moments = timesteps.to(pooled.device, pooled.dtype) / 1000 * 1000
        if guidance is None:
            embedding = self.time_text_embed(moments, pooled)
        else:
            scales = torch.tensor(guidance, dtype=torch.float32, device=pooled.device).to(pooled.dtype) * 1000
            embedding = self.time_text_embed(moments, scales, pooled)
        activated = torch.nn.functional.silu(embedding)
        return torch.cat([norm.linear(activated) for norm in self._norms()], dim=1)

    def rotary(self, text_ids: torch.Tensor, image_ids: torch.Tensor) -> torch.Tensor:
        """Cosines and sines of position ids (tokens x 3), text first: 2 x tokens x width of a head."""
        return torch.stack(self.pos_embed(torch.cat((text_ids, image_ids))))

    @property
    def modulation_bytes(self) -> int:
        """Of one image, or of one of its two rows under true CFG, between its steps."""
        dtype: torch.dtype = self.x_embedder.weight.dtype  # which no form of quantization converts
        return STEPS_AHEAD * sum(self._widths()) * dtype.itemsize

    def _norms(self) -> list[Any]:
        double = [norm for block in self.transformer_blocks for norm in (block.norm1, block.norm1_context)]
        return [*double, *(block.norm for block in self.single_transformer_blocks), self.norm_out]

    def _widths(self) -> list[int]:
        """Of each double block, each single one, and the last norm."""
        double, single = [12] * len(self.transformer_blocks), [3] * len(self.single_transformer_blocks)
        return [parts * self.inner_dim for parts in (*double, *single, 2)]


def _side_by_side(text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in one tensor, as single blocks return them: else the first of these would be compiled for itself."""
    both = torch.cat((text, image), dim=1)
    return both[:, : text.shape[1]], both[:, text.shape[1] :]


def modulated(transformer: Any) -> ModulatedTransformer:
    """Turn a loaded transformer, the very object, into one that is told its modulations."""
    _become(transformer, ModulatedTransformer, (_OfImage, _OfText), _OfBoth, _Last)
    made: ModulatedTransformer = transformer
    return made


@contextmanager
def stock(transformer: ModulatedTransformer) -> Iterator[FluxTransformer2DModel]:
    """The same object is a stock transformer meanwhile."""
    norms = (AdaLayerNormZero, AdaLayerNormZero), AdaLayerNormZeroSingle, AdaLayerNormContinuous
    _become(transformer, FluxTransformer2DModel, *norms)
    try:
        yield transformer
    finally:
        modulated(transformer)


def _become(transformer: Any, kind: type, double: tuple[type, type], single: type, last: type) -> None:
    for block in transformer.transformer_blocks:
        block.norm1.__class__, block.norm1_context.__class__ = double
    for block in transformer.single_transformer_blocks:
        block.norm.__class__ = single
    transformer.norm_out.__class__ = last
    transformer.__class__ = kind


@dataclass(slots=True)
class Ahead:
    """Modulations of a row's steps to come.

    Attributes:
        most: How many steps are computed at once; 1 of a reproducible image.
        first: The step that the first of them is of.
        values: Steps x width; none before the first step.
    """

    most: int
    first: int = 0
    values: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0))

    def left(self, index: int) -> int:
        """How many steps from `index` on are here."""
        return max(0, self.first + len(self.values) - index)

    def at(self, index: int) -> torch.Tensor:
        """Of one step, 1 x width. Only for a step that is here."""
        return self.values[index - self.first].unsqueeze(0)
