"""The model in hand. Making one takes seconds, and compiling one longer, so it is kept while cells want the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu import models
from benchmarks.gpu.flops import Flops
from benchmarks.gpu.forms import Form, Launch, Precision, formed
from benchmarks.gpu.hardware import Hardware
from benchmarks.gpu.scale import GUIDANCE, Model, Scale
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.modulation import modulated
from fluxpool_inference.worker.trajectory import Conditioning, Trajectory

Figures = dict[str, Any]
"""What a cell measured, as it goes into the result file."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in one form.

    Attributes:
        network: The transformer, which is told its modulations.
        flux: The engine's denoiser around it.
    """

    model: Model
    form: Form
    network: Any
    flux: FluxModel

    def describe(self) -> Figures:
        """What was measured, for the figures of a cell."""
        form = self.form
        return {
            "model": self.model,
            "precision": form.precision,
            "launch": form.launch,
            "attention": form.attention,
        }


class Bench:
    """A device, a scale, and at most one transformer at a time."""

    def __init__(self, scale: Scale, hardware: Hardware, compiler: str = "inductor") -> None:
        self.scale = scale
        self.hardware = hardware
        self.flops = Flops(scale)
        self.attention: Mapping[Launch, str] = {}
        """The fastest backend of each launch, where it was measured."""
        self.reference: torch.Tensor | None = None
        """Final latents in float32, for cells on agreement."""
        self.vae = models.vae(scale, hardware.device)
        self._compiler = compiler
        self._subject: Subject | None = None

    def form(self, precision: Precision, launch: Launch, attention: str | None = None) -> Form:
        """A form with the fastest attention backend that is known, unless one is named."""
        measured_as: Launch = "eager" if launch == "eager" else "compiled"
        return Form(precision, launch, attention or self.attention.get(measured_as, "native"))

    def subject(self, model: Model, form: Form) -> Subject:
        """The model in this form. Raises Unavailable."""
        if self._subject is None or (self._subject.model, self._subject.form) != (model, form):
            self.drop()
            self._subject = self._made(model, form)
        return self._subject

    def drop(self) -> None:
        """Let go of the model in hand, and of what was compiled for it."""
        self._subject = None
        torch.compiler.reset()  # its limit of recompilations counts those of every form before, too
        self.hardware.free()

    def _made(self, model: Model, form: Form) -> Subject:
        device = self.hardware.device
        transformer = modulated(models.transformer(self.scale, model, device))
        network = formed(transformer, form, self.hardware, self._compiler)
        flux = models.denoiser(self.scale, model, network, self.vae, modulator=transformer, device=device)
        return Subject(model, form, transformer, flux)

    def bucket(self, model: Model, side: int) -> Bucket:
        """What rows of square images share."""
        return Bucket.of_size(side, side, self.scale.text_tokens[model])

    def conditioning(self, subject: Subject, seed: int) -> Conditioning:
        """A prompt, encoded: random embeddings, drawn in bfloat16 whatever type the form has."""
        generator = torch.Generator(self.hardware.device).manual_seed(seed)
        config, model = subject.network.config, subject.model

        def drawn(*shape: int) -> torch.Tensor:
            whole = torch.randn(shape, generator=generator, device=self.hardware.device, dtype=models.DTYPE)
            return whole.to(subject.form.dtype)

        embeddings = drawn(1, self.scale.text_tokens[model], config.joint_attention_dim)
        return Conditioning(embeddings, drawn(1, config.pooled_projection_dim), truncated_tokens=0)

    def begin(self, subject: Subject, side: int, *, steps: int, seed: int = 0) -> Trajectory:
        """An image before its first step. The seed draws its noise and its embeddings."""
        guidance = GUIDANCE if subject.model == "dev" else None
        request = ImageRequest("", side, side, steps, guidance, seed)
        return subject.flux.begin(request, self.bucket(subject.model, side), self.conditioning(subject, seed))
