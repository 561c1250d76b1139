"""What fp8 makes of each layer. The conversion itself needs no GPU, though torchao asks for one beforehand."""

from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.gpu import models
from benchmarks.gpu.forms import Form, Unavailable, formed, is_modulation, sees_tokens
from benchmarks.gpu.hardware import Hardware
from benchmarks.gpu.scale import TINY


class Hopper(Hardware):
    """A CPU that passes for a GPU which has fp8."""

    capability = (9, 0)


class Ampere(Hardware):
    """Likewise, for one which has not."""

    capability = (8, 0)


def in_fp8(hardware: Hardware) -> Any:
    return formed(models.transformer(TINY, "dev", hardware.device), Form("fp8", "eager", "native"), hardware)


def test_fp8_has_a_scale_per_row_and_leaves_activations_of_modulations_and_other_layers_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torchao.quantization.quant_api._check_hardware_support", lambda _: None)
    network = in_fp8(Hopper(torch.device("cpu")))
    stock = models.transformer(TINY, "dev", torch.device("cpu"))
    counts = {"both": 0, "weights": 0, "neither": 0}
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        weight: Any = layer.weight
        if not (sees_tokens(layer, name) or is_modulation(layer, name)):
            counts["neither"] += 1
            assert type(weight) is nn.Parameter
            assert weight.dtype == torch.bfloat16
            continue
        assert weight.qdata.dtype == torch.float8_e4m3fn
        assert weight.scale.shape == (layer.out_features, 1)
        original = stock.get_submodule(name).weight.float()
        error = (weight.dequantize().float() - original).norm() / original.norm()
        assert 0.005 < error < 0.05  # three bits of mantissa
        counts["weights" if is_modulation(layer, name) else "both"] += 1
        kind = weight.act_quant_kwargs
        assert kind is None if is_modulation(layer, name) else kind.granularity.dim == -1
    assert counts == {"both": 2 * 12 + 2 * 5, "weights": 2 * 2 + 2, "neither": 10}


def test_a_gpu_without_fp8_is_told() -> None:
    with pytest.raises(Unavailable, match=r"need compute capability 8\.9 or more"):
        in_fp8(Ampere(torch.device("cpu")))
