"""Weights of fewer bits, by the libraries' own means: torchao and bitsandbytes through diffusers' configs, GGUF files.

All forms convert the same layers, `CONVERTED`: every linear layer of the transformer's blocks, and nothing else. What
they change is memory, and with int8 and fp8 speed; how far their results are from those of the whole weights is
numerics, and says nothing of what a picture looks like.

Rows of a step are independent: scales of activations are per token (`int8`, `fp8`), never per tensor, which would make
an image depend on its neighbours. The modulation layers see a token or a few per image, fewer than the kernels of int8
and fp8 products take, so in these two forms only their weights are converted, and not their activations.
"""

import importlib.util
import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import BitsAndBytesConfig, FluxTransformer2DModel, GGUFQuantizationConfig, TorchAoConfig
from diffusers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open

from fluxpool_inference.configuration import QUANTIZE_FORMS, EngineConfig, QuantizeForm
from fluxpool_inference.outcomes import StartError, StartFailure

CONVERTED = re.compile(r"(single_)?transformer_blocks\.\d+\..*")
"""Names of the linear layers that are converted, whatever the form."""
MODULATION = re.compile(r"(single_)?transformer_blocks\.\d+\.norm\w*\.linear\.weight")
"""Names of the weights, among those of `CONVERTED`, that see a token or a few per image."""
_NOT_CONVERTED = ("context_embedder", "norm_out", "pos_embed", "time_text_embed", "x_embedder")
"""Modules at the transformer's top, as bitsandbytes is told of them: layers of any such name, wherever they are.

So `proj_out`, a layer at the top and one of each single block, cannot be among them: see `settle`.
"""
_FP8_CAPABILITY = (8, 9)
_INT8_CAPABILITY = (8, 0)


def check(config: EngineConfig, device: torch.device) -> None:
    """Raises StartError for a form that this device cannot run, with those that it can, or whose library is missing."""
    form, library = config.quantize.form, config.quantize.library
    if library is None:
        return
    if not _runs_on(form, device):
        names = ", ".join(_named(other) for other in QUANTIZE_FORMS if other == "none" or _runs_on(other, device))
        raise StartError(
            StartFailure.DEVICE_UNAVAILABLE,
            f"quantize is {form}, which {_device_name(device)} cannot run; it can: {names}",
        )
    if importlib.util.find_spec(library) is None:
        raise StartError(
            StartFailure.INVALID_CONFIGURATION,
            f"quantize is {form}, which needs the package {library}: install fluxpool-inference[quantize]",
        )


def arguments(config: EngineConfig, device: torch.device) -> dict[str, Any]:
    """What `FluxTransformer2DModel.from_pretrained` is told of a form; nothing for `none`. Not for GGUF.

    Weights are converted one by one on the device, which never holds them all as they were.
    """
    dtype: torch.dtype = getattr(torch, config.dtype)
    where = {"device_map": {"": device}} if device.type == "cuda" else {}
    match config.quantize.form:
        case "none":
            return {}
        case "bnb-nf4" | "bnb-fp4" as form:
            return {
                "quantization_config": BitsAndBytesConfig(
                    load_in_4bit=True,
                    bnb_4bit_quant_type=form.removeprefix("bnb-"),
                    bnb_4bit_compute_dtype=dtype,
                    llm_int8_skip_modules=list(_NOT_CONVERTED),
                ),
                **where,
            }
        case form:
            return {"quantization_config": TorchAoConfig(_torchao(form)), **where}


def from_gguf(config: EngineConfig, directory: Path) -> FluxTransformer2DModel:
    """The transformer that `directory` describes, with the weights of the configured GGUF file.

    Raises StartError if there is no such file, ValueError and the like for what is in it.
    """
    file = Path(config.quantize.file)
    if not file.is_file():
        raise StartError(StartFailure.INVALID_CONFIGURATION, f"quantize is gguf:{file}, and {str(file)!r} is no file")
    dtype: torch.dtype = getattr(torch, config.dtype)
    transformer = FluxTransformer2DModel.from_single_file(
        str(file),
        config=str(directory),
        subfolder="transformer",
        quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
        torch_dtype=dtype,
        local_files_only=True,
    )
    _restore_others(transformer, dtype)
    return transformer


def settle(transformer: FluxTransformer2DModel, config: EngineConfig, directory: Path) -> None:
    """Make others whole again, as the files have them, if a library has converted more than the layers of the list.

    Not for `none` and GGUF. Raises StartError if it has converted fewer.
    """
    dtype: torch.dtype = getattr(torch, config.dtype)
    for name in _beyond_the_list(transformer):
        _make_whole(transformer, name, _stored(directory / "transformer", f"{name}.weight").to(dtype))
    if left := sorted({*to_convert(transformer)} - {*converted(transformer)}):
        form, library = config.quantize.form, config.quantize.library
        raise StartError(
            StartFailure.MODEL_LOAD_FAILED,
            f"quantize is {form}, but {library} has left {len(left)} layers as they were, such as {left[0]}",
        )


def parameters(module: torch.nn.Module) -> int:
    """The number of weights, as they are before they are converted."""
    return sum(_numel(weight) for weight in module.parameters())


def resident_bytes(module: torch.nn.Module) -> int:
    """Bytes of all tensors that a module keeps, scales and all."""
    return sum(_bytes(tensor) for tensor in (*module.parameters(), *module.buffers()))


def to_convert(transformer: torch.nn.Module) -> list[str]:
    """Names of the linear layers of the list."""
    return [name for name, _ in _linear(transformer) if CONVERTED.fullmatch(name)]


def converted(module: torch.nn.Module) -> list[str]:
    """Names of the linear layers whose weights are not plain tensors any more."""
    return [name for name, layer in _linear(module) if type(layer.weight) is not torch.nn.Parameter]


def _linear(module: torch.nn.Module) -> list[tuple[str, torch.nn.Linear]]:
    return [(name, layer) for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]


def _runs_on(form: QuantizeForm, device: torch.device) -> bool:
    if device.type != "cuda":
        return form in {"int8wo", "int8", "gguf"}
    capability = torch.cuda.get_device_capability(device)
    return capability >= {"fp8": _FP8_CAPABILITY, "int8": _INT8_CAPABILITY}.get(form, (0, 0))


def _named(form: QuantizeForm) -> str:
    return "gguf:FILE" if form == "gguf" else form


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"


def _torchao(form: str) -> Any:
    # Here, because it takes a second, and most start without. torchao's own settings of the compiler are refused:
    # they would switch TF32 on behind the option's back.
    from torchao.quantization import (  # noqa: PLC0415
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        FqnToConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
    )

    int8_weights = Int8WeightOnlyConfig(granularity=PerRow(), set_inductor_config=False)
    fp8_weights = Float8WeightOnlyConfig(set_inductor_config=False)
    modulation, others = {
        "int8wo": (int8_weights, int8_weights),
        "int8": (
            int8_weights,
            Int8DynamicActivationInt8WeightConfig(granularity=PerRow(), set_inductor_config=False),
        ),
        "fp8": (
            fp8_weights,
            Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False),
        ),
    }[form]
    return FqnToConfig({f"re:{MODULATION.pattern}": modulation, f"re:{CONVERTED.pattern}": others})


def _beyond_the_list(transformer: torch.nn.Module) -> list[str]:
    return [name for name in converted(transformer) if CONVERTED.fullmatch(name) is None]


def _restore_others(transformer: torch.nn.Module, dtype: torch.dtype) -> None:
    """Make layers whole again that a GGUF file has converted, though they are not of the list."""
    from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor  # noqa: PLC0415 - it imports gguf

    for name in _beyond_the_list(transformer):
        weight = transformer.get_submodule(name).weight
        _make_whole(transformer, name, dequantize_gguf_tensor(weight).to(dtype))


def _make_whole(transformer: torch.nn.Module, name: str, weight: torch.Tensor) -> None:
    """Put a plain layer with this weight in place of a converted one, on its device."""
    layer: Any = transformer.get_submodule(name)
    plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    bias = {} if layer.bias is None else {"bias": layer.bias}
    plain.load_state_dict({"weight": weight.to(layer.weight.device)} | bias, assign=True)
    transformer.set_submodule(name, plain.requires_grad_(requires_grad=False))


def _stored(folder: Path, name: str) -> torch.Tensor:
    """A weight as it is in a part's files."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    file = json.loads(index.read_text())["weight_map"][name] if index.is_file() else SAFETENSORS_WEIGHTS_NAME
    with safe_open(folder / file, framework="pt") as weights:
        stored: torch.Tensor = weights.get_tensor(name)
    return stored


def _numel(weight: torch.Tensor) -> int:
    """As `torch.Tensor.numel`; weights of GGUF and of bitsandbytes are bytes in a shape of their own."""
    shape: tuple[int, ...] = getattr(weight, "quant_shape", None) or getattr(weight, "quant_state", weight).shape
    return math.prod(shape)


def _bytes(tensor: torch.Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # of torchao
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, name)) for name in names)
    if (state := getattr(tensor, "quant_state", None)) is not None:  # of bitsandbytes
        return tensor.nbytes + sum(_bytes(part) for part in state.as_dict(packed=True).values())
    return tensor.nbytes
