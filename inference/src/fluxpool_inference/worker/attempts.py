"""What fails, fails alone: errors of a model as values, with room made on the device before anything else is tried."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fluxpool_inference.outcomes import first_line
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.image import Image

logger = logging.getLogger(__name__)

R = TypeVar("R")


class DeviceLostError(Exception):
    """The device does not work any more; only a new process may find it well."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is to be known of an error, without the error. The message has one line: clients read it."""

    message: str
    out_of_memory: bool


class Attempts:
    """Runs what may fail. `give_up` is told of each image that cannot be made, and why."""

    def __init__(self, model: Denoiser, give_up: Callable[[Image, str], None]) -> None:
        self._model = model
        self._give_up = give_up

    def run(self, work: Callable[[], R]) -> R | Failure:
        """What `work` returns, or why it failed, with room made on the device. Raises DeviceLostError."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever a model raises fails an image, and not the process
            failure = Failure(first_line(error), self._model.is_out_of_memory(error))
        # Strictly after the handler: until then the error's traceback keeps the tensors of all its frames.
        if not self._model.recover():
            raise DeviceLostError(failure.message)
        return failure

    def run_for(self, image: Image, work: Callable[[], R], what: str) -> R | None:
        """Do something for one image alone, and give it up if that fails (for want of memory: if it fails twice)."""
        outcome = self.run(work)
        if isinstance(outcome, Failure) and outcome.out_of_memory:
            outcome = self.run(work)
        if isinstance(outcome, Failure):
            logger.warning("image %d: %s failed: %s", image.number, what, outcome.message)
            self._give_up(image, f"{what} failed: {outcome.message}")
            return None
        return outcome
