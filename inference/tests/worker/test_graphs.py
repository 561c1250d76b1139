"""Replayed forwards: what they read and write, which are replayed, and that images stay what they are.

There are no CUDA graphs here. A capture that runs the computation again on the same tensors stands for them: it shows
padding, static buffers and what is left to run eagerly as they are on a GPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bench import TEXT_TOKENS, image
from capturing import Rerun
from comparison import POISON, Comparison

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.worker import checkpoint, graphs, loading
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.graphs import CudaCapture, Graphs
from fluxpool_inference.worker.trial import Trial


class Doubler:
    """A transformer whose rows do not depend on each other. Notes how many rows each run has."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(in_channels=64)
        self.runs: list[int] = []

    def __call__(self, hidden_states: torch.Tensor, modulations: torch.Tensor, **_: Any) -> tuple[torch.Tensor]:
        self.runs.append(len(hidden_states))
        return (2 * hidden_states + modulations.view(-1, 1, 1),)


def inputs(rows: int, tokens: int = 3, **changes: Any) -> dict[str, Any]:
    """Row r has r + 1 everywhere."""
    per_row = torch.arange(1.0, rows + 1)
    usual = {
        "hidden_states": per_row.view(-1, 1, 1).repeat(1, tokens, 2),
        "encoder_hidden_states": torch.ones(rows, 5, 2),
        "modulations": per_row.view(-1, 1) / 10,
        "rotary": torch.zeros(2, 5 + tokens, 4),
        "joint_attention_kwargs": {},
        "return_dict": False,
    }
    return usual | changes


def expected(rows: int, tokens: int = 3) -> torch.Tensor:
    per_row = torch.arange(1.0, rows + 1)
    return (2 * per_row + per_row / 10).view(-1, 1, 1).repeat(1, tokens, 2)


class Bed:
    """Graphs of a doubler, captured for some numbers of rows."""

    def __init__(self, *captured: int) -> None:
        self.doubler = Doubler()
        self.rerun = Rerun()
        self.graphs = Graphs(self.doubler, self.rerun)
        with self.graphs.capturing():
            for rows in captured:
                self.graphs(**inputs(rows))
        self.doubler.runs.clear()
        self.rerun.replays = 0

    def runs(self, rows: int, **changes: Any) -> tuple[torch.Tensor, bool]:
        """The result, and whether it was replayed."""
        before = self.rerun.replays
        (found,) = self.graphs(**inputs(rows, **changes))
        return found, self.rerun.replays > before


@pytest.mark.parametrize(("rows", "runs"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (7, 8), (8, 8)])
def test_rows_are_padded_up_to_the_next_captured_number_and_each_is_what_it_is_alone(rows: int, runs: int) -> None:
    bed = Bed(8, 4, 2, 1)
    found, replayed = bed.runs(rows)
    assert torch.equal(found, expected(rows))
    assert (replayed, bed.doubler.runs) == (True, [runs])


def test_what_the_padding_holds_reaches_no_row() -> None:
    bed = Bed(8, 4)
    bed.graphs(**inputs(8, hidden_states=torch.full((8, 3, 2), torch.nan)))
    found, _ = bed.runs(3)
    assert torch.equal(found, expected(3))


def test_more_rows_than_were_captured_run_eagerly() -> None:
    bed = Bed(4, 2)
    found, replayed = bed.runs(5)
    assert torch.equal(found, expected(5))
    assert (replayed, bed.doubler.runs) == (False, [5])


def test_a_result_is_the_callers_own() -> None:
    bed = Bed(2)
    first, _ = bed.runs(2)
    bed.graphs(**inputs(2, hidden_states=torch.zeros(2, 3, 2)))
    assert torch.equal(first, expected(2)), "the next replay must not write over it"


def test_a_replay_writes_into_no_tensor_of_its_caller() -> None:
    bed = Bed(2)
    given = inputs(2)
    bed.graphs(**given)
    bed.graphs(**inputs(2, hidden_states=torch.zeros(2, 3, 2)))
    assert torch.equal(given["hidden_states"], inputs(2)["hidden_states"])


def test_one_set_of_buffers_serves_all_graphs() -> None:
    made: list[torch.Tensor] = []
    true_zeros = torch.zeros_like

    def zeros(tensor: torch.Tensor) -> torch.Tensor:
        made.append(tensor)
        return true_zeros(tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "zeros_like", zeros)
        Bed(8, 4, 2, 1)
    assert len(made) == 4, "each input once, in the size of the largest graph"


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 4},
        {"encoder_hidden_states": torch.ones(2, 6, 2), "rotary": torch.zeros(2, 9, 4)},
        {"hidden_states": inputs(2)["hidden_states"].double()},
        {"joint_attention_kwargs": {"scale": 0.5}},
        {"controlnet_block_samples": [torch.ones(1)]},
        {"controlnet_block_samples": torch.ones(1)},
    ],
    ids=["size", "text length", "type", "scale", "samples", "a tensor more"],
)
def test_what_a_graph_was_not_captured_for_runs_eagerly(changes: dict[str, Any]) -> None:
    bed = Bed(2)
    found, replayed = bed.runs(2, **changes)
    assert not replayed
    assert torch.equal(found.float(), expected(2, changes.get("tokens", 3)))


def test_positions_are_read_anew_so_another_shape_of_as_many_tokens_may_be_replayed() -> None:
    class Placed(Doubler):
        def __call__(self, hidden_states: torch.Tensor, modulations: torch.Tensor, **more: Any) -> tuple[torch.Tensor]:
            return (hidden_states + more["rotary"].sum(),)

    captured = Graphs(Placed(), Rerun())
    with captured.capturing():
        captured(**inputs(1))
    assert captured(**inputs(1, rotary=torch.ones(2, 8, 4)))[0][0, 0, 0] == 65


def test_adapters_change_the_weights_so_nothing_is_replayed_with_them() -> None:
    bed = Bed(2)
    bed.doubler._hf_peft_config_loaded = True  # type: ignore[attr-defined]  # as diffusers marks it
    assert not bed.runs(2)[1]
    bed.doubler._hf_peft_config_loaded = False  # type: ignore[attr-defined]
    assert bed.runs(2)[1]


def test_diffusers_marks_adapters_by_this_name(dev: Comparison) -> None:
    assert dev.model._parts.transformer._hf_peft_config_loaded is False


def test_without_its_dictionary_the_result_would_be_another() -> None:
    assert not Bed(2).runs(2, return_dict=True)[1]


def test_a_graph_serves_down_to_what_it_was_kept_for() -> None:
    bed = Bed(8, 4)
    bed.graphs.keep(8, 6)
    bed.graphs.drop(4)
    assert [bed.runs(rows)[1] for rows in (1, 4, 5, 6, 8)] == [False, False, False, True, True]


def test_the_smaller_graph_is_taken_where_both_serve_and_else_none() -> None:
    bed = Bed(8, 4)
    bed.graphs.keep(4, 4)
    assert not bed.runs(3)[1], "the larger one serves 3 even less"


def test_meanwhile_nothing_is_replayed_and_afterwards_again() -> None:
    bed = Bed(2)
    with bed.graphs.eagerly():
        assert not bed.runs(2)[1]
    assert bed.runs(2)[1]
    with pytest.raises(KeyError), bed.graphs.eagerly():
        raise KeyError
    assert bed.runs(2)[1]


def test_a_graph_that_could_not_be_captured_leaves_room_for_a_smaller_one() -> None:
    bed = Bed()
    good = bed.graphs._capture

    def no_memory(work: Callable[[], torch.Tensor]) -> Any:
        raise torch.OutOfMemoryError

    bed.graphs._capture = no_memory
    with pytest.raises(torch.OutOfMemoryError), bed.graphs.capturing():
        bed.graphs(**inputs(8))
    bed.graphs.drop(8)
    bed.graphs._capture = good
    assert not bed.runs(8)[1]
    with bed.graphs.capturing():
        bed.graphs(**inputs(2))
    assert (bed.runs(2)[1], bed.runs(3)[1]) == (True, False)


# ---- the real model


@pytest.fixture(scope="module", params=["dev", "schnell"])
def replayed(request: pytest.FixtureRequest) -> tuple[Comparison, Rerun]:
    """A tiny model whose steps of 64 x 64 are replayed, beside the stock pipeline."""
    eager: Comparison = request.getfixturevalue(request.param)
    rerun = Rerun()
    model = load(Path(eager.model.info.name), rerun)
    trial = Trial(model, CONFIG)
    assert model.graphs is not None
    with model.graphs.capturing():
        for rows in (4, 2, 1):
            trial.step(rows)()
    return Comparison(model, eager.stock), rerun


CONFIG = EngineConfig("m", default_width=64, default_height=64)


def load(directory: Path, rerun: Rerun) -> FluxModel:
    config = EngineConfig(
        str(directory), dtype="float32", device="cpu", max_sequence_length=TEXT_TOKENS, cuda_graphs="auto"
    )
    return loading.load(config, checkpoint.find(config), torch.device("cpu"), capture=lambda: rerun)


def test_replayed_images_equal_stock_in_any_traffic(replayed: tuple[Comparison, Rerun]) -> None:
    comparison, rerun = replayed
    rerun.replays = 0
    requests = [image(f"image {seed}", seed=seed, steps=steps) for seed, steps in enumerate((1, 4, 2, 4, 3))]
    other = image("of another size", seed=9, steps=4, width=96)
    comparison.assert_equal(comparison.together([*requests, other], batch_size=4))
    assert rerun.replays >= 4
    assert rerun.captures == 3, "nothing is captured under traffic"
    assert comparison.model.info.runtime.cuda_graphs == "auto"


def test_a_neighbour_full_of_nan_changes_nothing(replayed: tuple[Comparison, Rerun]) -> None:
    comparison, _ = replayed
    bench, recorder = comparison.bench(4)
    for request in (image("a", seed=1), image(POISON, seed=2), image("b", seed=3, steps=6)):
        bench.submit(request)
    bench.finish()
    made = [(request, latents) for request, latents in recorder.made if request.prompt != POISON]
    assert len(made) == 2
    comparison.assert_equal(made)


def test_an_input_that_is_not_copied_in_would_be_seen(
    replayed: tuple[Comparison, Rerun], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_fill = Graphs._fill

    def fill(self: Graphs, tensors: dict[str, torch.Tensor]) -> None:
        true_fill(self, {name: tensor for name, tensor in tensors.items() if name != "modulations"})

    monkeypatch.setattr(Graphs, "_fill", fill)
    comparison, _ = replayed
    assert comparison.worst(comparison.together([image(seed=1), image(seed=2)])) > 1e-3


def test_without_the_option_nothing_stands_between_the_model_and_its_transformer(dev: Comparison) -> None:
    assert dev.model.graphs is None


# ---- the option, and CUDA's own capture


def test_a_cpu_has_no_graphs() -> None:
    with pytest.raises(StartError, match="cuda_graphs is auto, which needs a GPU, and the device is a CPU") as raised:
        graphs.check(EngineConfig("m", cuda_graphs="auto"), torch.device("cpu"))
    assert raised.value.reason is StartFailure.INVALID_CONFIGURATION
    graphs.check(EngineConfig("m"), torch.device("cpu"))
    graphs.check(EngineConfig("m", cuda_graphs="auto"), torch.device("cuda", 0))


class Cuda:
    """What CUDA is asked for, in order, in place of `torch.cuda`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[object] = []
        self.main = SimpleNamespace(wait_stream=lambda _: self.said.append("main waits"))
        self.side = SimpleNamespace(wait_stream=lambda _: self.said.append("side waits"))
        self.pools = 0
        for name in ("graph_pool_handle", "Stream", "current_stream", "stream", "CUDAGraph", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, f"_{name}"))

    def _graph_pool_handle(self) -> int:
        self.pools += 1
        return self.pools

    def _Stream(self) -> Any:  # noqa: N802 - as torch's
        return self.side

    def _current_stream(self) -> Any:
        return self.main

    @contextmanager
    def _stream(self, stream: Any) -> Iterator[None]:
        assert stream is self.side
        self.said.append("on the side")
        yield
        self.said.append("back")

    def _CUDAGraph(self) -> Any:  # noqa: N802 - as torch's
        return SimpleNamespace(replay=lambda: self.said.append("replay"))

    @contextmanager
    def _graph(self, graph: Any, pool: int) -> Iterator[None]:
        self.said.append(f"capture into pool {pool}")
        yield
        self.said.append("captured")


def test_a_capture_comes_after_runs_on_another_stream_and_all_share_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    capture = CudaCapture()
    outputs = iter([torch.tensor(float(number)) for number in range(8)])

    def work() -> torch.Tensor:
        cuda.said.append("work")
        return next(outputs)

    replay, output = capture(work)
    assert output.item() == 3
    assert cuda.said == [
        *("side waits", "on the side", "work", "work", "work", "back", "main waits"),
        *("capture into pool 1", "work", "captured"),
    ]
    replay()
    assert cuda.said[-1] == "replay"
    capture(work)
    assert (cuda.pools, cuda.said.count("capture into pool 1")) == (1, 2)


def test_a_model_with_the_option_is_captured_by_cuda(dev_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch)
    config = EngineConfig(str(dev_model), dtype="float32", max_sequence_length=TEXT_TOKENS, cuda_graphs="auto")
    model = loading.load(config, checkpoint.find(config), torch.device("cpu"))
    assert cuda.pools == 1
    bucket = Bucket(4, 4, TEXT_TOKENS)
    assert model.graphs is not None
    trial = Trial(model, CONFIG)
    with model.graphs.capturing():
        trial.step(2)()
    assert trial.bucket == bucket
    assert cuda.said[-2:] == ["captured", "replay"]
