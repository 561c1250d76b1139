import os

import pytest
import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.hardware import Hardware
from benchmarks.gpu.scale import TINY

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bench() -> Bench:
    """Tiny, on the CPU; blocks are traced as on a GPU, and then run as they are."""
    return Bench(TINY, Hardware(torch.device("cpu")), compiler="eager")
