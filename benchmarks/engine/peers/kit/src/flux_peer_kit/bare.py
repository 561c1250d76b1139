"""No server at all: `pipe([prompts])` over and over, from prompts to PNGs in base64.

Reads a line of JSON `{"bodies": [...]}` (bodies as a server gets them), makes their images in full batches one after
the other, and answers a line `{"seconds": S}`. Says `ready` first.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence

from flux_peer_kit.contract import ImageRequest, reply
from flux_peer_kit.pipeline import Pipeline
from flux_peer_kit.settings import Settings


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    settings = Settings.from_environment()
    pipeline = Pipeline(settings)
    answers.write("ready\n")
    for line in sys.stdin:
        requests = [ImageRequest.parse(body) for body in json.loads(line)["bodies"]]
        began = time.perf_counter()
        for batch in _batches(requests, settings.rows):
            for image in pipeline.batch(batch):
                reply(image)
        answers.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")


def _batches(requests: Sequence[ImageRequest], rows: int) -> Iterator[Sequence[ImageRequest]]:
    for first in range(0, len(requests), rows):
        yield requests[first : first + rows]


if __name__ == "__main__":
    main()
