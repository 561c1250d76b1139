"""How far the latents of a form are from those in float32, and how far an image is from itself in a batch."""

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import torch

from benchmarks.gpu.bench import Bench, Figures, Subject
from benchmarks.gpu.forms import Launch, Precision
from fluxpool_inference.worker.flux import NonFiniteError
from fluxpool_inference.worker.trajectory import Trajectory

_ROWS: Final = 8
_SIGMAS: Final = (1.0, 0.5, 0.25, 0.125, 0.0)
_GUIDANCE: Final = 2.0
"""With these, what goes into the embeddings of time and guidance (1000 sigma, 1000 guidance) is exact in bfloat16.

Otherwise its rounding would be most of an error: an untrained embedding is anything but smooth.
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Final latents after four steps, against those in float32, which the first such cell makes.

    An error is ||x - reference|| / ||reference||. What eager bf16 has is the price of the precision; a compiled form
    should have about the same. On random weights it says how kernels compute, and nothing about images.
    """

    precision: Precision
    launch: Launch

    KIND: ClassVar[str] = "agreement"

    @property
    def name(self) -> str:
        """See Cell."""
        return f"agreement, {self.precision} {self.launch}"

    def measure(self, bench: Bench) -> Figures:
        """See Cell."""
        if bench.reference is None:
            exact = bench.form("fp32", "eager", "native")  # the fast backends take 16 bits only
            bench.reference = _latents(bench, bench.subject("dev", exact), rows=1)
        subject = bench.subject("dev", bench.form(self.precision, self.launch))
        alone, in_batch = (_latents(bench, subject, rows) for rows in (1, _ROWS))
        if not all(torch.isfinite(latents).all() for latents in (bench.reference, alone, in_batch)):
            raise NonFiniteError("latents are not finite")
        return subject.describe() | {
            "width": bench.scale.small,
            "height": bench.scale.small,
            "steps": len(_SIGMAS) - 1,
            "batch_rows": _ROWS,
            "error_to_fp32": distance(alone, bench.reference),
            "error_in_batch_to_fp32": distance(in_batch, bench.reference),
            "difference_in_batch": distance(in_batch, alone),
        }


def _latents(bench: Bench, subject: Subject, rows: int) -> torch.Tensor:
    """Of the first of so many rows, in float32 on the host."""
    images = [_begin(bench, subject, seed) for seed in range(rows)]
    while images[0].index < len(_SIGMAS) - 1:
        subject.flux.step(bench.bucket("dev", bench.scale.small), images)
    return images[0].latents.float().cpu()


def _begin(bench: Bench, subject: Subject, seed: int) -> Trajectory:
    """An image whose noise is the same in every precision, which is not so of what a generator draws."""
    image = bench.begin(subject, bench.scale.small, steps=1, seed=seed)
    noise = torch.randn(image.latents.shape, generator=torch.Generator().manual_seed(seed))
    sigmas = torch.tensor(_SIGMAS)
    return replace(
        image,
        latents=noise.bfloat16().to(image.latents),
        sigmas=sigmas,
        timesteps=1000 * sigmas[:-1],
        guidance=_GUIDANCE,
    )


def distance(found: torch.Tensor, reference: torch.Tensor) -> float:
    """||found - reference|| / ||reference||, in float64."""
    wanted = reference.double()
    return float((found.double() - wanted).norm() / wanted.norm())
