"""The stock diffusers pipeline, as its documentation calls it: a list of prompts, and a generator for each."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers import FluxPipeline
from PIL.Image import Image

from flux_peer_kit.contract import ImageRequest
from flux_peer_kit.settings import Settings

_WARM = ImageRequest("a lighthouse", 64, 64, 2, 0)


class Pipeline:
    """One loaded pipeline; not safe for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        self._text_tokens = settings.text_tokens
        self._device_cpus = settings.device_cpus
        self._pipeline = FluxPipeline.from_pretrained(settings.model, dtype=torch.float32, local_files_only=True)
        self._pipeline.set_progress_bar_config(disable=True)
        for rows in {1, settings.rows}:
            self.batch([_WARM] * rows)

    def batch(self, requests: Sequence[ImageRequest]) -> list[Image]:
        """The images of requests of one shape, made by one call."""
        width, height, steps = requests[0].shape
        with _on(self._device_cpus):
            images: list[Image] = self._pipeline(
                prompt=[request.prompt for request in requests],
                width=width,
                height=height,
                num_inference_steps=steps,
                generator=[torch.Generator("cpu").manual_seed(request.seed) for request in requests],
                max_sequence_length=self._text_tokens,
            ).images
        return images

    def mixed(self, requests: Sequence[ImageRequest]) -> list[Image]:
        """The images of any requests, in order: one call for each shape, as the pipeline cannot mix shapes."""
        images: dict[int, Image] = {}
        for shape in dict.fromkeys(request.shape for request in requests):
            places = [place for place, request in enumerate(requests) if request.shape == shape]
            images |= zip(places, self.batch([requests[place] for place in places]), strict=True)
        return [images[place] for place in range(len(requests))]


@contextmanager
def _on(cpus: frozenset[int]) -> Iterator[None]:
    """Let the calling thread, and no other, run on these CPUs meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
