"""What the loop needs of a model: one family of models is one class of this shape. `flux.FluxModel` is the first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape
from fluxpool_inference.values import ImageRequest, ModelInfo

if TYPE_CHECKING:  # the loop runs any model, also one without torch
    from fluxpool_inference.worker.trajectory import Conditioning, Trajectory


class Denoiser(Protocol):
    """A model on a device, used by one thread. Every method returns when the device is done, so it can be timed."""

    @property
    def info(self) -> ModelInfo: ...  # noqa: D102
    @property
    def shape(self) -> TransformerShape: ...  # noqa: D102

    def encode(self, prompts: Sequence[str], text_tokens: int) -> "list[Conditioning]":
        """Encode prompts, all in one forward."""

    def begin(
        self,
        request: ImageRequest,
        bucket: Bucket,
        conditioning: "Conditioning",
        negative: "Conditioning | None" = None,
    ) -> "Trajectory":
        """Draw an image's noise. `negative` is its negative prompt, encoded, where it has one."""

    def step(self, bucket: Bucket, images: "Sequence[Trajectory]", *, one_by_one: bool = False) -> None:
        """Move every image one step on, or raise and move none.

        All rows share a forward, of which a pair of true CFG has two; or each has one of its own (`one_by_one`).
        """

    def decode(self, bucket: Bucket, images: "Sequence[Trajectory]") -> list[memoryview]:
        """Pixels of images, height x width x 3 bytes each. Raises NonFiniteError if one of them has none."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an error of any of these says that memory ran out."""

    def recover(self) -> bool:
        """Make room after an error; False if the device is lost."""
