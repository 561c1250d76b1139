"""The mathematics of FLUX.1, one denoising step over any rows of a bucket at a time.

Each function does exactly what `diffusers.FluxPipeline` does, operation by operation and rounding by rounding; what is
new is that timestep, guidance and step size are per row. The stock scheduler object holds one step index for all rows,
so it is used for the vectors of sigmas alone, which every image then walks along by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape
from fluxpool_inference.values import ImageRequest, ModelInfo
from fluxpool_inference.worker import device as hardware


class NonFiniteError(Exception):
    """NaN or infinity where an image should be."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The modules of a FluxPipeline, loaded, and the configuration of its scheduler."""

    transformer: Any
    vae: Any
    clip: Any
    t5: Any
    clip_tokenizer: Any
    t5_tokenizer: Any
    scheduler: dict[str, Any]


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
        index: Steps done.
    """

    latents: torch.Tensor
    sigmas: torch.Tensor
    timesteps: torch.Tensor
    guidance: float | None
    conditioning: Conditioning
    index: int = 0


class FluxModel:
    """A loaded model on one device. Belongs to one thread: tokenizers shared by threads give wrong lengths silently."""

    def __init__(self, parts: Parts, info: ModelInfo, device: torch.device) -> None:
        self.info = info
        self.device = device
        self._parts = parts
        self._schedule = lru_cache(maxsize=256)(self._new_schedule)
        self._ids = lru_cache(maxsize=64)(self._new_ids)

    @property
    def shape(self) -> TransformerShape:
        """What the cost of a step depends on."""
        config = self._parts.transformer.config
        return TransformerShape(
            inner_dim=config.num_attention_heads * config.attention_head_dim,
            blocks=config.num_layers + config.num_single_layers,
        )

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], text_tokens: int) -> list[Conditioning]:
        """Encode prompts, all in one forward, by T5, padded or cut to `text_tokens`, and by CLIP, pooled."""
        parts = self._parts
        ids = _token_ids(parts.t5_tokenizer, prompts, text_tokens)
        embeddings = parts.t5(ids.to(self.device), output_hidden_states=False)[0].to(parts.t5.dtype)
        clip_ids = _token_ids(parts.clip_tokenizer, prompts, parts.clip_tokenizer.model_max_length)
        pooled = parts.clip(clip_ids.to(self.device), output_hidden_states=False).pooler_output.to(parts.clip.dtype)
        self._synchronize()
        whole = [len(ids) for ids in parts.t5_tokenizer(list(prompts)).input_ids]
        # Copies: a view of one row would keep all rows in memory for as long as the cache remembers it.
        return [
            Conditioning(embeddings[[row]], pooled[[row]], max(0, length - text_tokens))
            for row, length in enumerate(whole)
        ]

    @torch.inference_mode()
    def begin(self, request: ImageRequest, bucket: Bucket, conditioning: Conditioning) -> Trajectory:
        """Draw the noise of one image, by a generator of its own."""
        channels = self._parts.transformer.config.in_channels // 4
        noise = randn_tensor(
            (1, channels, 2 * bucket.height, 2 * bucket.width),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            device=self.device,
            dtype=conditioning.embeddings.dtype,
        )
        sigmas, timesteps = self._schedule(request.steps, bucket.image_tokens)
        guidance = request.guidance if request.guidance is not None else self.info.default_guidance
        return Trajectory(_pack(noise), sigmas, timesteps, guidance, conditioning)

    @torch.inference_mode()
    def step(self, bucket: Bucket, rows: Sequence[Trajectory]) -> None:
        """Move every row one step on, all in one forward. If it raises, no row has moved."""
        latents = torch.cat([row.latents for row in rows])
        velocity = self._velocity(bucket, rows, latents)
        d_sigma = torch.stack([row.sigmas[row.index + 1] - row.sigmas[row.index] for row in rows])
        moved = euler_step(latents, velocity, d_sigma)
        self._synchronize()
        for row, new in zip(rows, moved.unbind(), strict=True):
            row.latents = new.unsqueeze(0)
            row.index += 1

    @torch.inference_mode()
    def decode(self, bucket: Bucket, trajectory: Trajectory) -> memoryview:
        """The pixels of one image, height x width x 3 bytes. Raises NonFiniteError rather than return a black image."""
        vae = self._parts.vae
        latents = trajectory.latents
        if not torch.isfinite(latents).all():
            raise NonFiniteError("the final latents are not finite")
        latents = _unpack(latents, bucket) / vae.config.scaling_factor + vae.config.shift_factor
        image = vae.decode(latents, return_dict=False)[0]
        if not torch.isfinite(image).all():
            raise NonFiniteError("the decoded image is not finite")
        image = (image * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
        pixels = (image * 255).round().to(torch.uint8)[0].contiguous().cpu()
        return memoryview(pixels.numpy())

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` says that memory ran out."""
        return hardware.is_out_of_memory(error)

    def recover(self) -> bool:
        """Give cached memory back after an error; whether the device still works."""
        return hardware.recover(self.device)

    def _velocity(self, bucket: Bucket, rows: Sequence[Trajectory], latents: torch.Tensor) -> torch.Tensor:
        """The transformer's prediction for each row, at its own timestep and guidance."""
        timestep = torch.stack([row.timesteps[row.index] for row in rows]).to(latents.device, latents.dtype)
        scales = [row.guidance for row in rows if row.guidance is not None]
        image_ids, text_ids = self._ids(bucket)
        velocity: torch.Tensor = self._parts.transformer(
            hidden_states=latents,
            timestep=timestep / 1000,
            guidance=torch.tensor(scales, dtype=torch.float32, device=latents.device) if scales else None,
            pooled_projections=torch.cat([row.conditioning.pooled for row in rows]),
            encoder_hidden_states=torch.cat([row.conditioning.embeddings for row in rows]),
            txt_ids=text_ids,
            img_ids=image_ids,
            joint_attention_kwargs={},
            return_dict=False,
        )[0]
        return velocity

    def _new_schedule(self, steps: int, image_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sigmas (steps + 1) and timesteps (steps), as the pipeline has its scheduler make them."""
        config = self._parts.scheduler
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(image_tokens, config))
        return scheduler.sigmas, scheduler.timesteps

    def _new_ids(self, bucket: Bucket) -> tuple[torch.Tensor, torch.Tensor]:
        """Position ids of image and text tokens, (tokens, 3) each."""
        image = torch.zeros(bucket.height, bucket.width, 3)
        image[..., 1] = torch.arange(bucket.height)[:, None]
        image[..., 2] = torch.arange(bucket.width)[None, :]
        where = {"device": self.device, "dtype": self._parts.clip.dtype}
        return image.reshape(-1, 3).to(**where), torch.zeros(bucket.text_tokens, 3, **where)

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


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


def _token_ids(tokenizer: Any, prompts: Sequence[str], length: int) -> torch.Tensor:
    """Token ids, prompts x `length`, padded or cut."""
    ids: torch.Tensor = tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def _pack(latents: torch.Tensor) -> torch.Tensor:
    """1 x channels x 2h x 2w to 1 x hw x 4 channels: each token is a patch of 2 x 2."""
    _, channels, height, width = latents.shape
    patches = latents.view(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(1, (height // 2) * (width // 2), 4 * channels)


def _unpack(latents: torch.Tensor, bucket: Bucket) -> torch.Tensor:
    """The inverse of `_pack`."""
    channels = latents.shape[-1] // 4
    patches = latents.view(1, bucket.height, bucket.width, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(1, channels, 2 * bucket.height, 2 * bucket.width)
