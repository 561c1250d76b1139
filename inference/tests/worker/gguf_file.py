"""Writes the transformer of a model as a GGUF file, as the converters of llama.cpp's world do."""

import re
from pathlib import Path

import gguf
from diffusers import FluxTransformer2DModel

_IN_BLOCKS = re.compile(r"(single_)?transformer_blocks\..*")


def write(path: Path, transformer: FluxTransformer2DModel, *, also: str = "", without: str = "") -> None:
    """Matrices of the blocks, and those whose name is `also`, in Q4_0; all others whole, but for `without`."""
    writer = gguf.GGUFWriter(str(path), "flux")
    for name, tensor in transformer.state_dict().items():
        values = tensor.float().numpy()
        if name == without:
            continue
        if values.ndim == 2 and (_IN_BLOCKS.fullmatch(name) or name == also):
            kind = gguf.GGMLQuantizationType.Q4_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
