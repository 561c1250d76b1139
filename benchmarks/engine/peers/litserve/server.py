"""LitServe, as its guide to batching has it: a LitAPI with `max_batch_size` and `batch_timeout`, one worker.

LitServe fills a batch with whatever came, so `predict` calls the pipeline once for each shape in it.
"""

from collections.abc import Sequence
from typing import Any

import litserve
from flux_peer_kit.contract import PATH, ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings
from PIL.Image import Image


class Images(litserve.LitAPI):
    """Decodes, predicts a batch, encodes; all in the worker's process."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - the comparison is on CPU
        """Load the pipeline."""
        self._pipeline = Pipeline(Settings.from_environment())

    def decode_request(self, request: dict[str, Any]) -> ImageRequest:
        """A body to a request."""
        return ImageRequest.parse(request)

    def batch(self, inputs: Sequence[ImageRequest]) -> Sequence[ImageRequest]:
        """Nothing is stacked: the pipeline takes a list."""
        return inputs

    def predict(self, x: Sequence[ImageRequest]) -> list[Image]:
        """The images of a batch."""
        return self._pipeline.mixed(x)

    def unbatch(self, output: list[Image]) -> list[Image]:
        """One image for each request."""
        return output

    def encode_response(self, output: Image) -> dict[str, Any]:
        """An image to an answer."""
        return reply(output)


if __name__ == "__main__":
    settings = Settings.from_environment()
    api = Images(max_batch_size=settings.rows, batch_timeout=settings.wait_seconds, api_path=PATH)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, timeout=False)
    server.run(host="127.0.0.1", port=settings.port, log_level="warning", generate_client_file=False)
