"""What a full-size FLUX.1 does on one GPU: step times, memory, agreement, and whole images, with random weights.

    __main__     the command line
    suite        runs cell after cell within a budget of seconds, and hands on what there is after each
    plan         which cells there are, the most important first
    cells/       one kind of measurement each
    bench        the model in hand: made when a cell wants another one
    forms        precision, compilation, CUDA graphs, attention backend
    models       random modules, the engine's denoiser and the stock pipeline around them
    aims         what follows from the cells, and the figures that count
    report       the result file

Cells use the engine's own denoiser (`fluxpool_inference.worker.flux`), so a step here is a step of the service.
Random weights have the speed and the memory of trained ones; their images mean nothing.
"""

import os
import time
from typing import Final

BEGAN: Final = float(os.environ.get("BENCHMARKS_GPU_BEGAN") or time.time())
"""When the command was given, in seconds of the epoch: `run` says it, as it installs packages before Python begins."""
