"""In which form a transformer runs: its precision, how its blocks are launched, and by which attention kernel."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from benchmarks.gpu.hardware import Hardware
from fluxpool_inference.configuration import QuantizeForm
from fluxpool_inference.worker import compilation, quantize
from fluxpool_inference.worker.graphs import Capture, CudaCapture, Graphs

Precision = Literal["fp32", "bf16", "fp8", "nf4"]
Launch = Literal["eager", "compiled", "static", "graphs"]
"""`compiled`: blocks with dynamic shapes; `static`: blocks for each shape; `graphs`: `compiled`, replayed."""

FP8_CAPABILITY = (8, 9)
_ENGINES_NAMES: dict[Precision, QuantizeForm] = {"fp32": "none", "bf16": "none", "fp8": "fp8", "nf4": "bnb-nf4"}


class Unavailable(Exception):  # noqa: N818 - a fact about the machine, not a fault
    """This device, or what is installed beside it, does not have this form."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form. `attention` is diffusers' name of a backend."""

    precision: Precision
    launch: Launch
    attention: str

    @property
    def dtype(self) -> torch.dtype:
        """Of latents and embeddings."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16


def formed(transformer: Any, form: Form, hardware: Hardware, compiler: str = "inductor") -> Any:
    """Bring a transformer in bfloat16 into a form, in place. Raises Unavailable.

    Returns:
        The transformer, or for `graphs` what stands for it.
    """
    _set_attention(transformer, form.attention)
    _PRECISIONS[form.precision](transformer, hardware)
    if form.launch == "eager":
        return transformer
    named = _ENGINES_NAMES[form.precision]
    compilation.prepare(transformer, named, fullgraph=True, dynamic=form.launch != "static", backend=compiler)
    return Graphed(transformer, cuda_graphs(hardware)) if form.launch == "graphs" else transformer


def _set_attention(transformer: Any, backend: str) -> None:
    try:
        transformer.set_attention_backend(backend)
    except (RuntimeError, ValueError) as error:  # what it needs is not installed; diffusers does not know it
        raise Unavailable(str(error)) from error


def is_converted(module: nn.Module, name: str) -> bool:
    """Whether a lower precision is for this layer: it is of the engine's list."""
    return isinstance(module, nn.Linear) and quantize.CONVERTED.fullmatch(name) is not None


def is_modulation(module: nn.Module, name: str) -> bool:
    """Whether a layer of the blocks sees one vector per row, and not all its tokens."""
    return is_converted(module, name) and quantize.MODULATION.fullmatch(f"{name}.weight") is not None


def sees_tokens(module: nn.Module, name: str) -> bool:
    """Whether a layer of the blocks sees all tokens of a row."""
    return is_converted(module, name) and not is_modulation(module, name)


def _to_fp8(transformer: Any, hardware: Hardware) -> None:
    """Weights and activations in 8 bits with a scale per row: a scale per tensor would couple the images of a step.

    Of the modulations only the weights: a step has fewer vectors of theirs than the products take.
    """
    if hardware.capability < FP8_CAPABILITY:
        raise Unavailable(f"fp8 products need compute capability {FP8_CAPABILITY[0]}.{FP8_CAPABILITY[1]} or more")
    _require("torchao")
    from torchao.quantization import (  # noqa: PLC0415 - not everywhere, and it takes a second
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        PerRow,
        quantize_,
    )

    # Without torchao's settings of the compiler, which would be those of every later form too.
    both = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
    quantize_(transformer, both, filter_fn=sees_tokens)
    quantize_(transformer, Float8WeightOnlyConfig(set_inductor_config=False), filter_fn=is_modulation)


def _to_nf4(transformer: Any, hardware: Hardware) -> None:
    """Weights in 4 bits, products in bfloat16: it saves memory and not time."""
    _require("bitsandbytes")
    from bitsandbytes.nn import Linear4bit, Params4bit  # noqa: PLC0415 - not everywhere

    layers = [(name, module) for name, module in transformer.named_modules() if is_converted(module, name)]
    for name, layer in layers:
        shape = (layer.in_features, layer.out_features, layer.bias is not None)
        new = Linear4bit(*shape, compute_dtype=layer.weight.dtype, quant_type="nf4", device="meta")
        weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=new)
        new.weight = weight.to(hardware.device)  # converts
        new.bias = layer.bias
        transformer.set_submodule(name, new.requires_grad_(requires_grad=False))


_PRECISIONS: dict[Precision, Callable[[Any, Hardware], None]] = {
    "fp32": lambda transformer, _: transformer.float(),
    "bf16": lambda _, __: None,
    "fp8": _to_fp8,
    "nf4": _to_nf4,
}


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Unavailable(f"{package} is not installed")


class Graphed:
    """A transformer whose forwards are captured once per shape of their inputs, and then replayed, by the engine."""

    def __init__(self, transformer: Any, capture: Capture) -> None:
        self.config = transformer.config
        self._transformer = transformer
        self._capture = capture
        self._captured: dict[tuple[torch.Size, ...], Graphs] = {}

    def __call__(self, **inputs: Any) -> tuple[torch.Tensor]:
        """As the transformer's, with `return_dict=False`."""
        shapes = tuple(value.shape for value in inputs.values() if isinstance(value, torch.Tensor))
        if shapes not in self._captured:
            graphs = Graphs(self._transformer, self._capture)
            with graphs.capturing():
                graphs(**inputs)
            self._captured[shapes] = graphs
        return self._captured[shapes](**inputs)


def cuda_graphs(hardware: Hardware) -> Capture:
    """The engine's capture. Raises Unavailable."""
    if not hardware.is_gpu:
        raise Unavailable("CUDA graphs need a CUDA device")
    return CudaCapture()
