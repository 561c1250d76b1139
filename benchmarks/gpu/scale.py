"""How large everything is: FLUX.1 itself, or a tiny one of the same classes that a CPU runs in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Model = Literal["dev", "schnell"]

STEPS: Mapping[Model, int] = {"dev": 28, "schnell": 4}
GUIDANCE = 3.5
"""Of dev; schnell has no guidance embedding."""
SCHEDULERS: Mapping[Model, Mapping[str, Any]] = {
    "dev": {"shift": 3.0, "use_dynamic_shifting": True},
    "schnell": {"shift": 1.0, "use_dynamic_shifting": False},
}


@dataclass(frozen=True, slots=True)
class Scale:
    """One size of model and images.

    Attributes:
        name: Of the model, for the result.
        transformer: Arguments of `FluxTransformer2DModel` where they are not FLUX.1's, its defaults.
        vae_channels: Of the VAE's blocks; each but the last halves the sides.
        vae_layers: Per block.
        vae_groups: Of its group norms.
        small: Side of the smallest images, in pixels.
        middle: Side of the middle ones.
        large: Side of the largest.
        text_tokens: T5 tokens per prompt.
        matmul_side: Of the square matrices whose product shows the device's own rate.
    """

    name: str
    transformer: Mapping[str, Any]
    vae_channels: tuple[int, ...]
    vae_layers: int
    vae_groups: int
    small: int
    middle: int
    large: int
    text_tokens: Mapping[Model, int]
    matmul_side: int

    @property
    def sides(self) -> tuple[int, int, int]:
        """Of all images, from the smallest to the largest."""
        return self.small, self.middle, self.large


FULL = Scale(
    name="FLUX.1, 12 B parameters, random weights",
    transformer={},
    vae_channels=(128, 256, 512, 512),
    vae_layers=2,
    vae_groups=32,
    small=512,
    middle=768,
    large=1024,
    text_tokens={"dev": 512, "schnell": 256},
    matmul_side=8192,
)
TINY = Scale(
    name="tiny FLUX, random weights",
    transformer={
        "num_layers": 2,  # so that blocks of a kind share what is compiled
        "num_single_layers": 2,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 64,
        "axes_dims_rope": (8, 12, 12),
    },
    vae_channels=(8, 8, 8, 8),
    vae_layers=1,
    vae_groups=4,
    small=32,
    middle=48,
    large=64,
    text_tokens={"dev": 16, "schnell": 8},
    matmul_side=64,
)
