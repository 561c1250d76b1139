"""How many floating-point operations a step and a decoding take: counted by torch on the meta device, not estimated."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import models
from benchmarks.gpu.scale import Model, Scale

REFERENCE_TFLOP_PER_SECOND = 790
"""The rate of a large bfloat16 product on an H200, to which every achieved rate is compared."""
_META = torch.device("meta")


class Flops:
    """Counts of one scale in TFLOP, where a multiplication and an addition are two operations."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._counted_step = cache(self._count_step)
        self._counted_decode = cache(self._count_decode)

    def step(self, model: Model, side: int, rows: int = 1) -> float:
        """One step over rows of square images; every row costs the same."""
        return rows * self._counted_step(model, side)

    def decode(self, side: int) -> float:
        """Decoding one square image."""
        return self._counted_decode(side)

    def image(self, model: Model, side: int, steps: int) -> float:
        """All steps and the decoding of one image."""
        return steps * self.step(model, side) + self.decode(side)

    def _count_step(self, model: Model, side: int) -> float:
        network = models.transformer_on_meta(self._scale, model)
        config = network.config
        image_tokens, text_tokens = (side // 16) ** 2, self._scale.text_tokens[model]

        def work() -> None:
            network(
                hidden_states=_tensor(1, image_tokens, config.in_channels),
                encoder_hidden_states=_tensor(1, text_tokens, config.joint_attention_dim),
                pooled_projections=_tensor(1, config.pooled_projection_dim),
                timestep=_tensor(1),
                guidance=_tensor(1) if config.guidance_embeds else None,
                img_ids=_tensor(image_tokens, 3),
                txt_ids=_tensor(text_tokens, 3),
                return_dict=False,
            )

        return _tflop(work)

    def _count_decode(self, side: int) -> float:
        decoder = models.vae_on_meta(self._scale)
        return _tflop(lambda: decoder.decode(_tensor(1, models.LATENT_CHANNELS, side // 8, side // 8)))


def _tensor(*shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=models.DTYPE, device=_META)


def _tflop(work: Callable[[], Any]) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e12
