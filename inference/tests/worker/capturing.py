"""A capture for machines without CUDA graphs: a replay runs the computation again, on the same tensors."""

from collections.abc import Callable

import torch

from fluxpool_inference.worker.graphs import Replay


class Rerun:
    """A `Capture`. As a graph does, it reads what the tensors hold when it is replayed, and writes to one output."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def __call__(self, work: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        self.captures += 1
        output = work()

        def replay() -> None:
            self.replays += 1
            output.copy_(work())

        return replay, output
