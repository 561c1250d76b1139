"""The stock `FluxPipeline`, one image at a time: what the engine's images are measured by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline

from fluxpool_inference.values import ImageRequest

torch.set_num_threads(1)


class Stock:
    """One loaded pipeline. Images are remembered, so that many comparisons cost one run."""

    def __init__(self, model: Path, dtype: torch.dtype = torch.float32, text_tokens: int = 32) -> None:
        self._pipeline = FluxPipeline.from_pretrained(model, dtype=dtype, local_files_only=True)
        self._pipeline.set_progress_bar_config(disable=True)
        self._text_tokens = text_tokens
        self._latents: dict[ImageRequest, torch.Tensor] = {}

    def latents(self, request: ImageRequest) -> torch.Tensor:
        """Final, packed: 1 x image tokens x 64."""
        request = replace(request, reproducible=False)
        if request not in self._latents:
            self._latents[request] = self._run(request, "latent")
        return self._latents[request]

    def pixels(self, request: ImageRequest) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
        """Height x width x 3, rounded as diffusers does when it makes a PIL image."""
        return (self._run(request, "np")[0] * 255).round().astype("uint8")

    def _run(self, request: ImageRequest, output_type: str):
        options: dict[str, object] = {} if request.guidance is None else {"guidance_scale": request.guidance}
        if request.true_cfg is not None:
            options |= {
                "negative_prompt": request.true_cfg.negative_prompt,
                "true_cfg_scale": request.true_cfg.scale,
            }
        return self._pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            max_sequence_length=request.max_sequence_length or self._text_tokens,
            output_type=output_type,
            **options,
        ).images
