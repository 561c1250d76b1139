"""Images of different numbers of steps: by the engine in shared steps, by the stock pipeline one after the other."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch
from torch._dynamo.utils import counters

from benchmarks.gpu import models
from benchmarks.gpu.bench import Bench, Figures, Subject
from benchmarks.gpu.cells.agreement import distance
from benchmarks.gpu.forms import Launch, Precision
from benchmarks.gpu.scale import GUIDANCE
from fluxpool_inference.worker.flux import NonFiniteError

STEPS: Final = (4, 28, 8, 16, 28, 4, 16, 8)
"""Of the images, in the order of their arrival, which is all at once."""
WARM_UP_STEPS: Final = (1, 4, 2, 3, 4, 1, 3, 2)
"""As few as let the rows of a step become fewer as they do with STEPS: each number of rows has its own kernels."""


@dataclass(frozen=True, slots=True)
class Denoised:
    """Final latents of each image, and the seconds from the start until it had them.

    Attributes:
        latents: Of each image.
        seconds: Of each image.
        compilations: How often something was compiled meanwhile; it should not be.
    """

    latents: list[torch.Tensor]
    seconds: list[float]
    compilations: int = 0


@dataclass(frozen=True, slots=True)
class MixedSteps:
    """Denoising eight images of the smallest size; both sides use the same weights in the same form."""

    precision: Precision
    launch: Launch

    KIND: ClassVar[str] = "mixed steps"

    @property
    def name(self) -> str:
        """See Cell."""
        return f"mixed steps, {self.precision} {self.launch}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell. Raises NonFiniteError: an error that is not a number is no error, and none is greater."""
        subject = bench.subject("dev", bench.form(self.precision, self.launch))
        engine = _warm(_by_the_engine, bench, subject)
        # The same blocks are compiled for other norms now: torch would count both, up to its limit, where it raises.
        torch.compiler.reset()
        stock = _warm(_by_the_stock_pipeline, bench, subject)
        errors = [distance(ours, theirs) for ours, theirs in zip(engine.latents, stock.latents, strict=True)]
        return subject.describe() | {
            "width": bench.scale.small,
            "height": bench.scale.small,
            "text_tokens": bench.scale.text_tokens["dev"],
            "rows": len(STEPS),
            "steps": STEPS,
            "engine_done_seconds": engine.seconds,
            "stock_done_seconds": stock.seconds,
            "compilations_while_timed": engine.compilations + stock.compilations,
            "throughput_ratio": max(stock.seconds) / max(engine.seconds),
            "mean_latency_ratio": sum(engine.seconds) / sum(stock.seconds),
            "errors_to_stock": errors,
            "worst_error_to_stock": max(errors),
        }


def _warm(run: Callable[[Bench, Subject, tuple[int, ...]], Denoised], bench: Bench, subject: Subject) -> Denoised:
    """What a side does once it has done the like before. Raises NonFiniteError."""
    run(bench, subject, WARM_UP_STEPS)
    before = counters["stats"]["unique_graphs"]
    done = run(bench, subject, STEPS)
    if not all(torch.isfinite(latents).all() for latents in done.latents):
        raise NonFiniteError("latents are not finite")
    return replace(done, compilations=counters["stats"]["unique_graphs"] - before)


def _by_the_engine(bench: Bench, subject: Subject, steps: tuple[int, ...]) -> Denoised:
    bucket = bench.bucket(subject.model, bench.scale.small)
    began = time.perf_counter()
    images = [bench.begin(subject, bench.scale.small, steps=count, seed=seed) for seed, count in enumerate(steps)]
    done = [0.0] * len(images)
    while rows := [number for number, count in enumerate(steps) if images[number].index < count]:
        subject.flux.step(bucket, [images[number] for number in rows])
        now = time.perf_counter() - began
        for number in rows:
            done[number] = now
    return Denoised([image.latents.cpu() for image in images], done)


def _by_the_stock_pipeline(bench: Bench, subject: Subject, steps: tuple[int, ...]) -> Denoised:
    side = bench.scale.small
    latents, done = [], []
    with models.stock_pipeline(subject.model, subject.network, bench.vae) as pipeline:
        began = time.perf_counter()
        for seed, count in enumerate(steps):
            conditioning = bench.conditioning(subject, seed)
            found = pipeline(
                prompt_embeds=conditioning.embeddings,
                pooled_prompt_embeds=conditioning.pooled,
                width=side,
                height=side,
                num_inference_steps=count,
                guidance_scale=GUIDANCE,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="latent",
            ).images
            bench.hardware.synchronize()
            done.append(time.perf_counter() - began)
            latents.append(found.cpu())
    return Denoised(latents, done)
