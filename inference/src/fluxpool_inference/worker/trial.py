"""Images of the default size to try a model on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker.denoiser import Denoiser

if TYPE_CHECKING:
    from fluxpool_inference.worker.trajectory import Conditioning, Trajectory

STEPS: Final = 4
"""Of each image: as many as `flux` computes modulations for at once, so that all of them bear their share of that."""

_PROMPT = "a photograph of a lighthouse at dawn"


class Trial:
    """Work on images that begin anew each time. What is returned is ready to run, so that it can be timed alone."""

    def __init__(self, model: Denoiser, config: EngineConfig) -> None:
        self.bucket = Bucket.of_size(config.default_width, config.default_height, model.info.max_sequence_length)
        self._model = model
        self._request = ImageRequest(_PROMPT, config.default_width, config.default_height, STEPS, guidance=None, seed=0)
        (self._conditioning,) = self.encoding(1)()

    def encoding(self, prompts: int) -> "Callable[[], Sequence[Conditioning]]":
        """So many prompts by one forward."""
        return partial(self._model.encode, [_PROMPT] * prompts, self.bucket.text_tokens)

    def image(self, steps: int = STEPS) -> "Trajectory":
        """One image before its first step."""
        return self._model.begin(replace(self._request, steps=steps), self.bucket, self._conditioning)

    def step(self, rows: int, of_steps: int = STEPS) -> Callable[[], None]:
        """A step over so many images of so many steps: their first, and if it runs again, their next."""
        return partial(self._model.step, self.bucket, [self.image(of_steps) for _ in range(rows)])

    def steps(self, rows: int) -> Callable[[], None]:
        """All `STEPS` steps of so many images."""
        step = self.step(rows)

        def run() -> None:
            for _ in range(STEPS):
                step()

        return run

    def decoding(self) -> Callable[[], list[memoryview]]:
        """Decoding of one image."""
        return partial(self._model.decode, self.bucket, [self.image()])
