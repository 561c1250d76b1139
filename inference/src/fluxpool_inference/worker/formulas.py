"""The formulas of `diffusers.FluxPipeline` and its scheduler, each rounded as it is there, for rows of their own."""

from collections.abc import Mapping
from typing import Any

import torch

from fluxpool_inference.scheduling.bucket import Bucket


def guided(positive: torch.Tensor, negative: torch.Tensor, scale: float) -> torch.Tensor:
    """The velocity of true classifier-free guidance, from those of one image's two prompts.

    Rounded as `FluxPipeline.__call__` does: `scale` is a number of Python, which torch does not round to the type of
    the velocities before it multiplies, as it would a tensor of scales.
    """
    return negative + scale * (positive - negative)


def shift(image_tokens: int, scheduler: Mapping[str, Any]) -> float:
    """How far the sigmas of an image are shifted towards noise (mu): linear in its tokens, between two that are known.

    `calculate_shift` of `diffusers.pipelines.flux.pipeline_flux`, which imports every pipeline's loaders along with it.
    """
    fewest, most = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    least, greatest = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)
    slope = (greatest - least) / (most - fewest)
    return float(image_tokens * slope + (least - slope * fewest))


def euler_step(latents: torch.Tensor, velocity: torch.Tensor, d_sigma: torch.Tensor) -> torch.Tensor:
    """Move latents by d_sigma x velocity, with one d_sigma (float32, on CPU) per row.

    Rounded as `FlowMatchEulerDiscreteScheduler.step` does. There, d_sigma is a tensor without dimensions and the first
    factor, so the product has the velocity's type, to which torch rounds d_sigma before it multiplies (the second
    factor it would not round, on CPU).
    """
    return latents + d_sigma.to(velocity.device, velocity.dtype).view(-1, 1, 1) * velocity


def pack(latents: torch.Tensor) -> torch.Tensor:
    """1 x channels x 2h x 2w to 1 x hw x 4 channels: each token is a patch of 2 x 2."""
    _, channels, height, width = latents.shape
    patches = latents.view(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(1, (height // 2) * (width // 2), 4 * channels)


def unpack(latents: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    """The inverse of `pack`, for any number of images."""
    images, _, width = latents.shape
    patches = latents.view(images, bucket.height, bucket.width, width // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(images, width // 4, 2 * bucket.height, 2 * bucket.width)
