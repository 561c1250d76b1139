"""The mathematics of FLUX.1, one denoising step over any rows of a bucket at a time.

Each function does exactly what `diffusers.FluxPipeline` does, operation by operation and rounding by rounding; what is
new is that timestep, guidance and step size are per row, and that both prompts of true CFG may share a forward. The
stock scheduler object holds one step index for all rows, so it is used for the vectors of sigmas alone, which every
image then walks along by itself. What a step needs that does not depend on the latents is computed ahead: see
`modulation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils.torch_utils import randn_tensor

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape
from fluxpool_inference.values import LATENT_MULTIPLE, ImageRequest, ModelInfo
from fluxpool_inference.worker import device as hardware
from fluxpool_inference.worker.formulas import euler_step, guided, pack, shift, unpack
from fluxpool_inference.worker.graphs import Graphs
from fluxpool_inference.worker.modulation import STEPS_AHEAD, Ahead, ModulatedTransformer
from fluxpool_inference.worker.trajectory import Conditioning, Trajectory

_PLACES = 8
"""Sizes whose rotary embeddings are kept: 5 MB each at 1024x1024, of what `scheduling.memory` reserves."""


class NonFiniteError(Exception):
    """NaN or infinity where an image should be."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The modules of a FluxPipeline, loaded, and the configuration of its scheduler.

    Attributes:
        transformer: The stock one, one that is told its modulations, or `Graphs` of the latter.
        modulator: The one that is told, which computes them as well; None where it is the stock one.
    """

    transformer: Any
    vae: Any
    clip: Any
    t5: Any
    clip_tokenizer: Any
    t5_tokenizer: Any
    scheduler: dict[str, Any]
    modulator: ModulatedTransformer | None = None


class FluxModel:
    """A loaded model on one device. Belongs to one thread: tokenizers shared by threads give wrong lengths silently."""

    def __init__(self, parts: Parts, info: ModelInfo, device: torch.device) -> None:
        self.info = info
        self.device = device
        self._parts = parts
        self._schedule = lru_cache(maxsize=256)(self._new_schedule)
        self._places = lru_cache(maxsize=_PLACES)(self._new_places)

    @property
    def shape(self) -> TransformerShape:
        """What the cost of a step depends on."""
        config = self._parts.transformer.config
        return TransformerShape(
            inner_dim=config.num_attention_heads * config.attention_head_dim,
            blocks=config.num_layers + config.num_single_layers,
        )

    @property
    def graphs(self) -> Graphs | None:
        """What replays the transformer's forwards; None if nothing does."""
        transformer = self._parts.transformer
        return transformer if isinstance(transformer, Graphs) else None

    @property
    def modulation_bytes(self) -> int:
        """What a row keeps of modulations between its steps."""
        modulator = self._parts.modulator
        return 0 if modulator is None else modulator.modulation_bytes

    @property
    def tile_pixels(self) -> int | None:
        """Of one tile, where images larger than that are decoded in tiles; else None."""
        vae = self._parts.vae
        return (LATENT_MULTIPLE // 2 * vae.tile_latent_min_size) ** 2 if vae.use_tiling else None

    @torch.inference_mode()
    def encode(self, prompts: Sequence[str], text_tokens: int) -> list[Conditioning]:
        """Encode prompts, all in one forward, by T5, padded or cut to `text_tokens`, and by CLIP, pooled."""
        parts = self._parts
        tokens = _tokenize(parts.t5_tokenizer, prompts, text_tokens)
        ids = torch.tensor(tokens.input_ids, device=self.device)
        embeddings = parts.t5(ids, output_hidden_states=False)[0].to(parts.t5.dtype)
        clip_tokens = _tokenize(parts.clip_tokenizer, prompts, parts.clip_tokenizer.model_max_length)
        clip_ids = torch.tensor(clip_tokens.input_ids, device=self.device)
        pooled = parts.clip(clip_ids, output_hidden_states=False).pooler_output.to(parts.clip.dtype)
        hardware.synchronize(self.device)
        truncated = [
            len(parts.t5_tokenizer(prompt).input_ids) - text_tokens if all(mask) else 0
            for prompt, mask in zip(prompts, tokens.attention_mask, strict=True)
        ]
        # Copies: a view of one row would keep all rows in memory for as long as the cache remembers it.
        return [Conditioning(embeddings[[row]], pooled[[row]], truncated[row]) for row in range(len(prompts))]

    @torch.inference_mode()
    def begin(
        self, request: ImageRequest, bucket: Bucket, conditioning: Conditioning, negative: Conditioning | None = None
    ) -> Trajectory:
        """Draw the noise of one image, by a generator of its own. `negative` is its negative prompt, encoded."""
        channels = self._parts.transformer.config.in_channels // 4
        noise = randn_tensor(
            (1, channels, 2 * bucket.height, 2 * bucket.width),
            generator=torch.Generator("cpu").manual_seed(request.seed),
            device=self.device,
            dtype=conditioning.embeddings.dtype,
        )
        sigmas, timesteps = self._schedule(request.steps, bucket.image_tokens)
        guidance = request.guidance if request.guidance is not None else self.info.default_guidance
        scale = request.true_cfg.scale if request.true_cfg else 1.0
        ahead = 1 if request.reproducible else STEPS_AHEAD
        return Trajectory(
            latents=pack(noise),
            sigmas=sigmas,
            timesteps=timesteps,
            guidance=guidance,
            conditioning=conditioning,
            negative=negative,
            true_cfg_scale=scale,
            ahead=Ahead(ahead),
            negative_ahead=Ahead(ahead),
        )

    @torch.inference_mode()
    def step(self, bucket: Bucket, images: Sequence[Trajectory], *, one_by_one: bool = False) -> None:
        """Move every image one step on. If it raises, none has moved.

        All rows share a forward, of which a pair of true CFG has two; or each has one of its own (`one_by_one`).
        """
        latents = torch.cat([image.latents for image in images])
        negatives = {place: image.negative for place, image in enumerate(images) if image.negative is not None}
        if negatives or one_by_one:
            velocity = self._guided_velocity(bucket, images, negatives, one_by_one=one_by_one)
        else:
            velocity = self._velocity(bucket, images, latents)
        d_sigma = torch.stack([image.sigmas[image.index + 1] - image.sigmas[image.index] for image in images])
        moved = euler_step(latents, velocity, d_sigma)
        hardware.synchronize(self.device)
        for image, new in zip(images, moved.unbind(), strict=True):
            image.latents = new.unsqueeze(0)
            image.index += 1

    @torch.inference_mode()
    def decode(self, bucket: Bucket, images: Sequence[Trajectory]) -> list[memoryview]:
        """The pixels of images, height x width x 3 bytes each, all decoded by one call.

        Raises NonFiniteError rather than return a black image among them.
        """
        vae = self._parts.vae
        latents = torch.cat([image.latents for image in images])
        if not torch.isfinite(latents).all():
            raise NonFiniteError("the final latents are not finite")
        latents = unpack(latents, bucket) / vae.config.scaling_factor + vae.config.shift_factor
        decoded = vae.decode(latents, return_dict=False)[0]
        if not torch.isfinite(decoded).all():
            raise NonFiniteError("the decoded image is not finite")
        decoded = (decoded * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float()
        pixels = hardware.to_host((decoded * 255).round().to(torch.uint8).contiguous())
        return [memoryview(image.numpy()) for image in pixels]

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` says that memory ran out."""
        return hardware.is_out_of_memory(error)

    def recover(self) -> bool:
        """Give cached memory back after an error; whether the device still works."""
        return hardware.recover(self.device)

    def _guided_velocity(
        self,
        bucket: Bucket,
        images: Sequence[Trajectory],
        negatives: Mapping[int, Conditioning],
        *,
        one_by_one: bool,
    ) -> torch.Tensor:
        """The velocity of each image. Those at the places of `negatives` have a second row, behind all first ones."""
        second = [(images[place], text) for place, text in negatives.items()]
        rows = [*images, *(replace(image, conditioning=text, ahead=image.negative_ahead) for image, text in second)]
        forwards = [[row] for row in rows] if one_by_one else [rows]
        velocity = torch.cat(
            [self._velocity(bucket, part, torch.cat([row.latents for row in part])) for part in forwards]
        )
        for row, place in enumerate(negatives, start=len(images)):
            velocity[place] = guided(velocity[place], velocity[row], images[place].true_cfg_scale)
        return velocity[: len(images)]

    def _velocity(self, bucket: Bucket, rows: Sequence[Trajectory], latents: torch.Tensor) -> torch.Tensor:
        """The transformer's prediction for each row, at its own timestep and guidance."""
        modulator = self._parts.modulator
        velocity: torch.Tensor = self._parts.transformer(
            hidden_states=latents,
            encoder_hidden_states=torch.cat([row.conditioning.embeddings for row in rows]),
            **(_moments(rows) if modulator is None else {"modulations": _modulations(modulator, rows)}),
            **self._places(bucket),
            return_dict=False,
        )[0]
        return velocity

    def _new_schedule(self, steps: int, image_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sigmas (steps + 1) and timesteps (steps), as the pipeline has its scheduler make them."""
        config = self._parts.scheduler
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(image_tokens, config))
        return scheduler.sigmas, scheduler.timesteps

    def _new_places(self, bucket: Bucket) -> dict[str, Any]:
        """What the transformer is told of its tokens' positions: ids, tokens x 3 each, or what it makes of them."""
        image = torch.zeros(bucket.height, bucket.width, 3)
        image[..., 1] = torch.arange(bucket.height)[:, None]
        image[..., 2] = torch.arange(bucket.width)[None, :]
        where = {"device": self.device, "dtype": self._parts.clip.dtype}
        ids = torch.zeros(bucket.text_tokens, 3, **where), image.reshape(-1, 3).to(**where)
        if self._parts.modulator is not None:
            return {"rotary": self._parts.modulator.rotary(*ids)}
        return dict(zip(("txt_ids", "img_ids"), ids, strict=True))


def _modulations(modulator: ModulatedTransformer, rows: Sequence[Trajectory]) -> torch.Tensor:
    """What the next step of each row is modulated by, rows x width.

    If one has run out, all are computed ahead again that have less than they may, so that weights are read for them
    together. One step of one row is computed as the stock transformer does, bit by bit.
    """
    if any(not row.ahead.left(row.index) for row in rows):
        spans = [slice(row.index, row.index + row.ahead.most) for row in rows]
        due = [
            (row, row.timesteps[span])
            for row, span in zip(rows, spans, strict=True)
            if row.ahead.left(row.index) < len(row.timesteps[span])
        ]
        steps = [len(timesteps) for _, timesteps in due]
        scales = [row.guidance for row, timesteps in due for _ in timesteps if row.guidance is not None]
        values = modulator.modulations(
            torch.cat([timesteps for _, timesteps in due]),
            scales or None,
            torch.cat([row.conditioning.pooled.expand(len(timesteps), -1) for row, timesteps in due]),
        )
        for (row, _), own in zip(due, torch.split(values, steps), strict=True):
            # Copies: a view would keep those of all rows. Made before anything changes, for memory may run out here.
            row.ahead.first, row.ahead.values = row.index, own.clone()
    return torch.cat([row.ahead.at(row.index) for row in rows])


def _moments(rows: Sequence[Trajectory]) -> dict[str, Any]:
    """What the stock transformer is told instead of modulations."""
    latents = rows[0].latents
    timestep = torch.stack([row.timesteps[row.index] for row in rows]).to(latents.device, latents.dtype)
    scales = [row.guidance for row in rows if row.guidance is not None]
    return {
        "timestep": timestep / 1000,
        "guidance": torch.tensor(scales, dtype=torch.float32, device=latents.device) if scales else None,
        "pooled_projections": torch.cat([row.conditioning.pooled for row in rows]),
        "joint_attention_kwargs": {},
    }


def _tokenize(tokenizer: Any, prompts: Sequence[str], length: int) -> Any:
    """Lists of `input_ids` and `attention_mask`, prompts x `length`: padded, which the mask has as 0, or cut."""
    return tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True)
