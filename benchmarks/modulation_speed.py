"""What it gains that modulations are computed ahead. Recorded in `results/engine.json`.

    inference/.venv/bin/python benchmarks/modulation_speed.py

Two models with the same random weights make all four steps of the same images, in turn: one computes modulations and
rotary embeddings in every step, as the stock transformer does, and the other as `worker/modulation.py` does. Measured
is the CPU time of one thread; a figure is the median over rounds of the ratio of both.

Then, what it gains that modulations are compiled where their weights are in fp8, of which a CPU runs no other layer.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from record import Part, record, reported

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.tiny_model import write_tiny_model
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker import checkpoint, compilation, loading, quantize
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.modulation import STEPS_AHEAD, ModulatedTransformer, stock

ROWS = (1, 2, 4, 8)
STEPS = 4
TEXT_TOKENS = 32
BUCKET = Bucket.of_size(64, 64, TEXT_TOKENS)


def load(directory: Path) -> FluxModel:
    """In float32 on the CPU."""
    config = EngineConfig(str(directory), dtype="float32", device="cpu", max_sequence_length=TEXT_TOKENS)
    return loading.load(config, checkpoint.find(config), torch.device("cpu"))


def seconds(model: FluxModel, rows: int) -> float:
    """Of all steps of images that begin anew."""
    texts = model.encode([f"{row} a red fox" for row in range(rows)], TEXT_TOKENS)
    requests = [ImageRequest("", 64, 64, STEPS, None, row) for row in range(rows)]
    images = [model.begin(request, BUCKET, text) for request, text in zip(requests, texts, strict=True)]
    began = time.thread_time()
    for _ in range(STEPS):
        model.step(BUCKET, images)
    return time.thread_time() - began


def ratios(directory: Path, rounds: int) -> dict[int, Sequence[float]]:
    """By rows: ours over stock, of each round; which goes first alternates."""
    ours, other = load(directory), load(directory)
    parts = other._parts  # noqa: SLF001 - nothing else runs a model without its modulator
    assert parts.modulator is not None
    found: dict[int, list[float]] = {rows: [] for rows in ROWS}
    with ExitStack() as stack:
        stack.enter_context(stock(parts.modulator))
        plain = FluxModel(replace(parts, modulator=None), other.info, other.device)
        for number in range(-1, rounds):
            for rows in ROWS:
                sides = (ours, plain) if number % 2 else (plain, ours)
                took = {id(model): seconds(model, rows) for model in sides}
                if number >= 0:
                    found[rows].append(took[id(ours)] / took[id(plain)])
    return dict(found)


def in_fp8(directory: Path) -> ModulatedTransformer:
    """With the weights of its modulations as `quantize` has them."""
    from torchao.quantization import Float8WeightOnlyConfig, quantize_  # noqa: PLC0415 - it takes a second

    modulator = load(directory)._parts.modulator  # noqa: SLF001
    assert modulator is not None
    config = Float8WeightOnlyConfig(set_inductor_config=False)
    quantize_(modulator, config, lambda _, name: quantize.MODULATION.fullmatch(f"{name}.weight") is not None)
    return modulator


@torch.inference_mode()
def ratios_in_fp8(directory: Path, rounds: int) -> dict[int, Sequence[float]]:
    """By rows, each with STEPS_AHEAD steps: compiled over eager, of each round; which goes first alternates."""
    eager, compiled = in_fp8(directory), in_fp8(directory)
    compilation.prepare(compiled, "fp8", fullgraph=True, dynamic=True)
    found: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for number in range(-1, rounds):
        for rows in ROWS:
            ahead = rows * STEPS_AHEAD
            pooled = torch.randn(ahead, eager.config.pooled_projection_dim)
            took: dict[int, float] = {}
            for modulator in (eager, compiled) if number % 2 else (compiled, eager):
                began = time.thread_time()
                modulator.modulations(torch.rand(ahead) * 1000, [3.5] * ahead, pooled)
                took[id(modulator)] = time.thread_time() - began
            if number >= 0:
                found[rows].append(took[id(compiled)] / took[id(eager)])
    return dict(found)


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="of each number of rows")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    sizes: tuple[Literal["tiny", "small"], ...] = ("tiny", "small")
    figures: dict[str, dict[int, Sequence[float]]] = {}
    aims = []
    with tempfile.TemporaryDirectory() as scratch:
        for size in sizes:
            write_tiny_model(Path(scratch) / size, size=size)
            figures[size] = ratios(Path(scratch) / size, rounds)
        in_8_bits = figures["small, fp8"] = ratios_in_fp8(Path(scratch) / "small", rounds)
    for size in sizes:
        for rows, each in figures[size].items():
            middle = statistics.median(each)
            aims.append(reported(f"CPU time of four steps over stock's, {size} model, {rows} rows", round(middle, 3)))
            print(f"{size}, {rows} rows: {middle:.3f} ({min(each):.3f} to {max(each):.3f})", flush=True)
    for rows, each in in_8_bits.items():
        middle = statistics.median(each)
        name = f"CPU time of modulations in fp8 for {STEPS_AHEAD} steps, compiled over eager, small model, {rows} rows"
        aims.append(reported(name, round(middle, 3)))
        print(f"fp8, {rows} rows: {middle:.3f} ({min(each):.3f} to {max(each):.3f})", flush=True)
    versions = {name: version(name) for name in ("torch", "diffusers", "torchao")}
    command = f"inference/.venv/bin/python benchmarks/modulation_speed.py --rounds {rounds}"
    print(record("engine", Part("modulations ahead", command, versions, aims, figures)))


if __name__ == "__main__":
    main()
