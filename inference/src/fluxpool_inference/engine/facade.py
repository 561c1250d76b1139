"""The engine as the HTTP process sees it."""

from collections.abc import Sequence
from typing import Protocol

from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.types import EngineObserver, EngineStatus
from fluxpool_inference.values import EngineConfig, ImageRequest, ModelInfo


class Ticket(Protocol):
    """One admitted image."""

    @property
    def request(self) -> ImageRequest:
        """What was asked for."""

    @property
    def wait_estimate_seconds(self) -> float:
        """The wait that was estimated at admission."""

    async def result(self) -> RawImage:
        """Wait for the pixels. Cancelling this await cancels the image. Raises RequestFailed."""

    def cancel(self) -> None:
        """Give the image up: its row is freed at the next step, its pixels are released. Idempotent, never raises."""


class Engine:
    """Admits images by estimated time, has the worker make them, hands their pixels over. Belongs to one event loop."""

    def __init__(self, config: EngineConfig, observer: EngineObserver) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Spawn the worker and wait until it has loaded, warmed and calibrated. Raises StartError."""

    @property
    def model(self) -> ModelInfo:
        """The loaded model. Raises RuntimeError before `start` has returned."""
        raise NotImplementedError

    async def admit(
        self, requests: Sequence[ImageRequest], *, first_attempt: bool = True, deadline_seconds: float | None = None
    ) -> list[Ticket]:
        """Admit all images of one HTTP request, or none.

        Args:
            requests: At least one.
            first_attempt: False for a retry by the client's SDK: its work then does not count as offered again.
            deadline_seconds: How long the client will wait for the last of them, from now; None if it did not say.

        Raises:
            Rejected: With the reason, and when to try again.
            ValueError: A guidance scale for a model without guidance embedding.
        """
        raise NotImplementedError

    async def generate(self, request: ImageRequest) -> RawImage:
        """Admit one image and wait for it. Raises Rejected, RequestFailed. Cancelling the task cancels the row."""
        raise NotImplementedError

    def status(self) -> EngineStatus:
        """What is true now; cheap enough for every scrape."""
        raise NotImplementedError

    async def set_batch_size(self, rows: int) -> int:
        """Set the ceiling of rows per step, effective at the next step. Raises ValueError outside the bounds."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Admit nothing more; return when nothing admitted is left in flight (answered, failed or cancelled)."""

    async def stop(self) -> None:
        """End the worker; whatever is still in flight fails. Idempotent."""
