"""Bytes and numerics of quantized weights. Recorded in `results/engine.json`.

    inference/.venv/bin/python benchmarks/quantize_error.py

A transformer of 36 million random weights predicts a velocity from noise, once with whole weights and once with each
form that a CPU runs. The relative error (Euclidean norm) tells one form from another; random weights say nothing about
pictures, so neither does it.
"""

import tempfile
from importlib.metadata import version
from pathlib import Path

import gguf
import torch
from record import Part, record, reported

from fluxpool_inference.configuration import EngineConfig, Quantize, QuantizeForm
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.tiny_model import write_tiny_model
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker import checkpoint, loading, quantize
from fluxpool_inference.worker.flux import FluxModel

FORMS: tuple[QuantizeForm, ...] = ("int8wo", "int8", "gguf")
TEXT_TOKENS = 64
BUCKET = Bucket(16, 16, TEXT_TOKENS)
ROWS = 2


def write_gguf(path: Path, transformer: torch.nn.Module) -> None:
    """The converted layers in Q4_0, everything else as it is."""
    layers = {f"{name}.weight" for name in quantize.to_convert(transformer)}
    writer = gguf.GGUFWriter(str(path), "flux")
    for name, tensor in transformer.state_dict().items():
        kind = gguf.GGMLQuantizationType.Q4_0 if name in layers else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(directory: Path, form: Quantize) -> FluxModel:
    """In float32 on the CPU."""
    config = EngineConfig(str(directory), dtype="float32", device="cpu", max_sequence_length=TEXT_TOKENS, quantize=form)
    return loading.load(config, checkpoint.find(config), torch.device("cpu"))


def velocity(model: FluxModel) -> torch.Tensor:
    """Of rows of noise."""
    (text,) = model.encode(["a lighthouse at dawn"], TEXT_TOKENS)
    requests = [ImageRequest("a lighthouse at dawn", 256, 256, 4, None, seed) for seed in range(ROWS)]
    rows = [model.begin(request, BUCKET, text) for request in requests]
    with torch.inference_mode():
        return model._velocity(BUCKET, rows, torch.cat([row.latents for row in rows]))  # noqa: SLF001


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        directory, file = Path(scratch) / "model", Path(scratch) / "flux-Q4_0.gguf"
        write_tiny_model(directory, size="small")
        whole = load(directory, Quantize("none"))
        write_gguf(file, whole._parts.transformer)  # noqa: SLF001
        expected = velocity(whole)
        for form in ("none", *FORMS):
            model = load(directory, Quantize(form, str(file) if form == "gguf" else ""))
            error = float((velocity(model) - expected).norm() / expected.norm())
            size = quantize.resident_bytes(model._parts.transformer)  # noqa: SLF001
            figures[form] = {"relative_error": error, "resident_mb": size / 1e6}
            print(f"{form}: {size / 1e6:.1f} MB, relative error {error:.2g}")
    aims = []
    for form, found in figures.items():
        name = "gguf Q4_0" if form == "gguf" else form
        aims.append(reported(f"MB of a transformer of 36 M weights, {name}", round(found["resident_mb"], 1)))
        if form != "none":
            aims.append(reported(f"relative error of its velocity, {name}", float(f"{found['relative_error']:.2g}")))
    versions = {name: version(name) for name in ("torch", "diffusers", "torchao", "gguf")}
    command = "inference/.venv/bin/python benchmarks/quantize_error.py"
    print(record("engine", Part("quantize", command, versions, aims, figures)))


if __name__ == "__main__":
    main()
