"""Which layers a precision converts, and what replaying a captured forward means."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from benchmarks.gpu import models
from benchmarks.gpu.forms import Form, Graphed, Unavailable, formed, is_converted, is_modulation, sees_tokens
from benchmarks.gpu.hardware import Hardware
from benchmarks.gpu.scale import FULL, TINY
from fluxpool_inference.worker import quantize
from fluxpool_inference.worker.graphs import Replay

CPU = Hardware(torch.device("cpu"))


def test_the_linear_layers_of_the_blocks_are_converted_and_nothing_else() -> None:
    network = models.transformer_on_meta(FULL, "dev")
    modules = list(network.named_modules())
    converted, modulations, others = (
        {name for name, module in modules if wanted(module, name)}
        for wanted in (is_converted, is_modulation, sees_tokens)
    )
    assert (len(modulations), len(others)) == (19 * 2 + 38, 19 * 12 + 38 * 5)
    assert converted == modulations | others == set(quantize.to_convert(network))
    assert "transformer_blocks.0.norm1_context.linear" in modulations
    assert not {"x_embedder", "context_embedder", "proj_out", "norm_out.linear"} & converted


def test_an_attention_backend_that_there_is_not_is_told() -> None:
    network = models.transformer(TINY, "dev", CPU.device)
    with pytest.raises(Unavailable, match="must be one of"):
        formed(network, Form("bf16", "eager", "fastest"), CPU)


def capture(work: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
    """As a CUDA graph: the same tensors are read, and the same one is written, every time."""
    output = work()
    return lambda: output.copy_(work()), output


class Doubler:
    """A transformer that doubles, and counts how often it is run."""

    def __init__(self) -> None:
        self.config = SimpleNamespace()
        self.runs = 0

    def __call__(self, hidden_states: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        self.runs += 1
        assert not return_dict
        return (2 * hidden_states,)


def test_a_replayed_forward_has_the_new_inputs() -> None:
    graphed = Graphed(Doubler(), capture)
    for value in (1.0, 3.0):
        assert graphed(hidden_states=torch.full((2, 2), value), return_dict=False)[0].tolist() == [[2 * value] * 2] * 2


def test_each_shape_is_captured_once() -> None:
    captures = 0

    def counted(work: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        nonlocal captures
        captures += 1
        return capture(work)

    graphed = Graphed(Doubler(), counted)
    for rows in (1, 2, 1, 2):
        assert graphed(hidden_states=torch.ones(rows, 2), return_dict=False)[0].shape == (rows, 2)
    assert captures == 2


def test_a_graph_does_not_write_into_its_callers_tensors() -> None:
    graphed, first = Graphed(Doubler(), capture), torch.ones(1)
    graphed(hidden_states=first, return_dict=False)
    graphed(hidden_states=torch.zeros(1), return_dict=False)
    assert first.item() == 1
