"""mosec, as its guide serves Stable Diffusion: one worker, dynamic batching, the batch made by one call.

mosec fills a batch with whatever came, so `forward` calls the pipeline once for each shape in it.
"""

import os
from collections.abc import Sequence
from typing import Any

from flux_peer_kit.contract import PATH, ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings
from mosec import Server, Worker

LONGEST_SECONDS = 600


class Images(Worker):
    """JSON in, JSON out, both by mosec itself."""

    def __init__(self) -> None:
        super().__init__()
        self._pipeline = Pipeline(Settings.from_environment())

    def forward(self, data: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers to a batch of bodies."""
        requests = [ImageRequest.parse(body) for body in data]
        return [reply(image) for image in self._pipeline.mixed(requests)]


if __name__ == "__main__":
    settings = Settings.from_environment()
    os.environ |= {
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_PORT": str(settings.port),
        "MOSEC_TIMEOUT": str(1000 * LONGEST_SECONDS),
        "MOSEC_LOG_LEVEL": "warning",
    }
    server = Server()
    server.append_worker(
        Images,
        num=1,
        max_batch_size=settings.rows,
        max_wait_time=round(1000 * settings.wait_seconds),
        timeout=LONGEST_SECONDS,
        route=PATH,
    )
    server.run()
