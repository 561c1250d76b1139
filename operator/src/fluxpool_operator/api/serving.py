"""What a pool serves and on what: the model, the bounds of a request, GPUs, and how pods are replaced."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from fluxpool_operator.api.base import SET, ApiModel, IntOrPercent, ObjectName, Rule

_SOURCE: Final = r"^(/[^ ]+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$"
SIZE_MULTIPLE: Final = 16
"""Sides of an image are multiples of this: the VAE shrinks by 8 and the transformer takes patches of 2 x 2 latents."""


class Precision(StrEnum):
    """Number format of weights and activations."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class ImageFormat(StrEnum):
    """File format of an answer."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class SecretKeyRef(ApiModel):
    """A key of a Secret in the pool's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="Key in the Secret.")


class Model(ApiModel):
    """Which FLUX model the pool serves and where its weights come from."""

    source: str = Field(
        min_length=1,
        max_length=512,
        description="A Hugging Face id such as black-forest-labs/FLUX.1-schnell, or the absolute path of a pipeline on "
        "a volume of template.volumes.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="Branch, tag or commit of a Hugging Face id; the default branch where absent. A commit keeps all "
        "replicas on the same weights.",
    )
    precision: Precision = Field(
        default=Precision.BFLOAT16, description="Number format the model is loaded in: bfloat16, float16 or float32."
    )
    token_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Secret key with the Hugging Face token of a gated or private model."
    )

    rules = (
        Rule(
            f"self.source.matches('{_SOURCE}')",
            "model.source must be a Hugging Face id such as black-forest-labs/FLUX.1-schnell, or an absolute path",
            lambda m: re.match(_SOURCE, m.source) is not None,
            field=".source",
        ),
        Rule(
            "!has(self.revision) || !self.source.startsWith('/')",
            "model.revision is for a Hugging Face id: remove it, since model.source is a path",
            lambda m: m.revision is None or not m.source.startswith("/"),
            field=".revision",
        ),
    )


class Limits(ApiModel):
    """What one request may ask for; beyond it the answer is 400 with the limit named."""

    max_steps: int = Field(default=50, ge=1, le=1000, description="The most denoising steps.")
    max_images: int = Field(default=4, ge=1, le=64, description="The most images of one request (n).")
    min_side: int = Field(
        default=256, ge=SIZE_MULTIPLE, le=4096, description="The smallest width and height in pixels."
    )
    max_pixels: int = Field(
        default=2_097_152, ge=SIZE_MULTIPLE**2, le=16_777_216, description="The largest width times height in pixels."
    )


class Serving(ApiModel):
    """How requests are taken: bounds of a request and of the queue, and how a pod ends."""

    drain_seconds: int = Field(
        default=300,
        ge=1,
        le=7200,
        description="The longest a pod may take to finish what it has admitted once it is told to end. A pod refuses "
        "to start where maxQueueSeconds and its longest admissible request together do not fit.",
    )
    max_queue_seconds: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="Admission by time: a request whose estimated wait is longer gets 429 with Retry-After.",
    )
    max_waiting: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="The most images that may wait in a pod, whatever the estimate: guards memory.",
    )
    default_size: str = Field(
        default="1024x1024",
        min_length=5,
        max_length=11,
        pattern=r"^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$",
        description="Width x height of an image whose request names no size; also what a pod warms up with. Both "
        "multiples of 16.",
    )
    image_formats: Annotated[list[ImageFormat], Field(min_length=1, max_length=3)] = Field(
        default=[ImageFormat.PNG, ImageFormat.JPEG, ImageFormat.WEBP],
        description="Formats a request may ask for: png, jpeg, webp.",
        json_schema_extra=SET,
    )
    limits: Limits = Field(
        default_factory=Limits, description="What one request may ask for; beyond it the answer is 400."
    )

    rules = (
        Rule(
            "self.maxQueueSeconds < self.drainSeconds",
            "serving.maxQueueSeconds must be less than serving.drainSeconds: what was admitted must be finished before "
            "a pod ends",
            lambda s: s.max_queue_seconds < s.drain_seconds,
            field=".maxQueueSeconds",
        ),
        Rule(
            f"self.defaultSize.split('x').all(side, int(side) % {SIZE_MULTIPLE} == 0)",
            f"serving.defaultSize must have sides that are multiples of {SIZE_MULTIPLE}, as in 1024x768",
            lambda s: all(side % SIZE_MULTIPLE == 0 for side in s.default_sides),
            field=".defaultSize",
        ),
        Rule(
            "self.defaultSize.split('x').all(side, int(side) >= self.limits.minSide) && "
            "int(self.defaultSize.split('x')[0]) * int(self.defaultSize.split('x')[1]) <= self.limits.maxPixels",
            "serving.defaultSize must be within serving.limits: no side below minSide, no more pixels than maxPixels",
            lambda s: (
                min(s.default_sides) >= s.limits.min_side
                and s.default_sides[0] * s.default_sides[1] <= s.limits.max_pixels
            ),
            field=".defaultSize",
        ),
    )

    @property
    def default_sides(self) -> tuple[int, int]:
        """Width and height of the default size in pixels."""
        width, height = self.default_size.split("x")
        return int(width), int(height)


class Gpu(ApiModel):
    """The devices of each pod."""

    resource_name: str = Field(
        default="nvidia.com/gpu",
        min_length=3,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
        description="Extended resource that a device plugin offers, for example nvidia.com/gpu or a MIG profile such "
        "as nvidia.com/mig-3g.71gb.",
    )
    count: int = Field(
        default=1,
        ge=1,
        le=1,
        description="Devices per pod. 1: a pod of this version works on one device, and a larger pool has more pods. "
        "A later version may allow more.",
    )


class Rollout(ApiModel):
    """How pods are replaced when the spec changes. A change of scaling or batching replaces none."""

    max_surge: IntOrPercent = Field(
        default=1,
        description="Pods above the wanted number during a rollout, as a number or a percentage. 1 keeps full capacity "
        "but needs a spare GPU; 0, with maxUnavailable 1, needs none.",
    )
    max_unavailable: IntOrPercent = Field(
        default=0, description="Pods that may be missing during a rollout, as a number or a percentage."
    )
    on_upgrade: bool = Field(
        default=False,
        description="Whether an upgrade of the operator that brings another default image or pod template replaces "
        "this pool's pods by itself. Where false the pool takes it with its next change of spec.",
    )

    rules = (
        Rule(
            "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
            "rollout.maxSurge and rollout.maxUnavailable cannot both be 0: no pod could ever be replaced",
            lambda r: not ({str(r.max_surge), str(r.max_unavailable)} <= {"0", "0%"}),
        ),
    )
