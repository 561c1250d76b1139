"""The engine's images beside those of the stock pipeline alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench import TEXT_TOKENS, Bench
from fake_model import FAULT
from stock import Stock

from fluxpool_inference.configuration import EngineConfig, Precision
from fluxpool_inference.ipc.messages import Failed
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape
from fluxpool_inference.values import ImageRequest, ModelInfo
from fluxpool_inference.worker import checkpoint, loading
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.trajectory import Conditioning, Trajectory

TOLERANCE = 1e-5
POISON = "full of NaN"
"""The prompt of an image whose noise is NaN."""

Made = list[tuple[ImageRequest, torch.Tensor]]


def load(directory: Path, dtype: Precision = "float32", **options: Any) -> FluxModel:
    config = EngineConfig(str(directory), dtype=dtype, device="cpu", max_sequence_length=TEXT_TOKENS, **options)
    return loading.load(config, checkpoint.find(config), torch.device("cpu"))


class Recorder:
    """A FluxModel that remembers what it made: requests and their final latents.

    Prompts that name a fault have it, as those of the fake model: an `error`, an `oom`, or an `oom once`.
    """

    def __init__(self, model: FluxModel) -> None:
        self._model = model
        self._requests: dict[int, ImageRequest] = {}
        self._gone_wrong: set[str] = set()
        self.made: Made = []
        self.is_out_of_memory = model.is_out_of_memory
        self.recover = model.recover

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    @property
    def shape(self) -> TransformerShape:
        return self._model.shape

    def encode(self, prompts: Sequence[str], text_tokens: int) -> list[Conditioning]:
        self._go_wrong("encode", prompts)
        return self._model.encode(prompts, text_tokens)

    def begin(
        self, request: ImageRequest, bucket: Bucket, conditioning: Conditioning, negative: Conditioning | None = None
    ) -> Trajectory:
        self._go_wrong("begin", [request.prompt])
        trajectory = self._model.begin(request, bucket, conditioning, negative)
        if request.prompt == POISON:
            trajectory.latents = torch.full_like(trajectory.latents, torch.nan)
        self._requests[id(trajectory)] = request
        return trajectory

    def step(self, bucket: Bucket, images: Sequence[Trajectory], *, one_by_one: bool = False) -> None:
        for image in images:
            self._go_wrong(f"step {image.index}", [self._requests[id(image)].prompt])
        self._model.step(bucket, images, one_by_one=one_by_one)

    def decode(self, bucket: Bucket, images: Sequence[Trajectory]) -> list[memoryview]:
        for image in images:
            self._go_wrong("decode", [self._requests[id(image)].prompt])
        pixels = self._model.decode(bucket, images)
        self.made += [(self._requests[id(image)], image.latents) for image in images]
        return pixels

    def _go_wrong(self, stage: str, prompts: Sequence[str]) -> None:
        for prompt in prompts:
            fault = FAULT.fullmatch(prompt)
            if not fault or fault[2] != stage:
                continue
            if fault[1] == "error":
                raise ValueError("a planted error")
            if fault[1] == "oom" or prompt not in self._gone_wrong:
                self._gone_wrong.add(prompt)
                raise MemoryError("a planted want of memory")


@dataclass
class Comparison:
    """One loaded model and the stock pipeline."""

    model: FluxModel
    stock: Stock

    def bench(self, batch_size: int = 8, **options: Any) -> tuple[Bench, Recorder]:
        recorder = Recorder(self.model)
        return Bench(recorder, batch_size=batch_size, **options), recorder

    def together(self, requests: Sequence[ImageRequest], batch_size: int = 8) -> Made:
        """Final latents of requests that are all submitted at once."""
        bench, recorder = self.bench(batch_size, prompts_together=4)
        for request in requests:
            bench.submit(request)
        bench.finish()
        assert bench.all(Failed) == []
        return recorder.made

    def difference(self, request: ImageRequest, latents: torch.Tensor) -> float:
        """The largest of any element; NaN counts as infinite."""
        worst = (latents - self.stock.latents(request)).abs().nan_to_num(nan=torch.inf).max()
        return float(worst)

    def worst(self, made: Made) -> float:
        return max(self.difference(request, latents) for request, latents in made)

    def assert_equal(self, made: Made) -> None:
        """What every test of this folder relies on; `test_planted_bugs` shows that it sees what it must."""
        assert made
        for request, latents in made:
            assert self.difference(request, latents) <= TOLERANCE, request
