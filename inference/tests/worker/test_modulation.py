"""Modulations computed ahead: those of the stock transformer, once for several steps, and only for rows that need them.

What images look like with them is in test_equality_with_stock, and in everything else that compares with stock.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import image, pair
from comparison import Comparison, load
from diffusers import FluxTransformer2DModel
from diffusers.models.modeling_outputs import Transformer2DModelOutput

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.ipc.messages import StepDone
from fluxpool_inference.worker.modulation import STEPS_AHEAD, Ahead, ModulatedTransformer, modulated, stock
from fluxpool_inference.worker.trial import Trial
from fluxpool_inference.worker.warm_up import first_steps

SMALL = EngineConfig("m", default_width=64, default_height=64)


@pytest.fixture(params=["dev", "schnell"])
def model(request: pytest.FixtureRequest) -> Comparison:
    either: Comparison = request.getfixturevalue(request.param)
    return either


@pytest.fixture
def asked(model: Comparison, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """For how many steps modulations were computed, each time."""
    counts: list[int] = []
    true_modulations = ModulatedTransformer.modulations

    def modulations(self: ModulatedTransformer, timesteps: torch.Tensor, *rest: Any) -> torch.Tensor:
        counts.append(len(timesteps))
        return true_modulations(self, timesteps, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ModulatedTransformer, "modulations", modulations)
        yield counts


def inputs(transformer: Any, rows: int) -> dict[str, torch.Tensor]:
    chance, dtype = torch.Generator().manual_seed(rows), transformer.dtype
    config = transformer.config
    return {
        "hidden_states": torch.randn(rows, 12, config.in_channels, generator=chance).to(dtype),
        "encoder_hidden_states": torch.randn(rows, 5, config.joint_attention_dim, generator=chance).to(dtype),
        "pooled": torch.randn(rows, config.pooled_projection_dim, generator=chance).to(dtype),
        "timesteps": torch.tensor([502.0, 1000.0, 3.25])[:rows],  # 502 / 1000 * 1000 is not 502, rounded
        "image_ids": torch.randint(0, 9, (12, 3), generator=chance).float(),
    }


def loaded(comparison: Comparison, dtype: torch.dtype = torch.float32) -> Any:
    """The stock transformer."""
    folder = comparison.model.info.name
    return FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer", dtype=dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_transformer_that_is_told_its_modulations_is_the_stock_one_bit_by_bit(
    model: Comparison, rows: int, dtype: torch.dtype
) -> None:
    told = modulated(loaded(model, dtype))
    given, text_ids = inputs(told, rows), torch.zeros(5, 3)
    guidance = [3.5, 1.0, 7.0][:rows] if model.model.info.guidance_embeds else None
    common = {name: given[name] for name in ("hidden_states", "encoder_hidden_states")}
    with torch.inference_mode():
        (wanted,) = loaded(model, dtype)(
            **common,
            pooled_projections=given["pooled"],
            timestep=given["timesteps"].to(dtype) / 1000,  # as FluxPipeline does
            guidance=torch.tensor(guidance) if guidance else None,
            txt_ids=text_ids,
            img_ids=given["image_ids"],
            return_dict=False,
        )
        modulations = told.modulations(given["timesteps"], guidance, given["pooled"])
        found = told(**common, modulations=modulations, rotary=told.rotary(text_ids, given["image_ids"]))
    assert isinstance(found, Transformer2DModelOutput)
    assert torch.equal(found.sample, wanted)


def test_the_weights_keep_their_names_and_are_all_there(dev: Comparison) -> None:
    before = loaded(dev)
    names, kinds = list(before.state_dict()), kinds_of(before)
    after = modulated(before)
    assert list(after.state_dict()) == names
    assert kinds_of(after) != kinds
    with stock(after) as again:
        assert kinds_of(again) == kinds
    assert isinstance(before, ModulatedTransformer)


def kinds_of(transformer: Any) -> list[type]:
    return [type(module) for module in transformer.modules()]


@pytest.mark.parametrize(("steps", "wanted"), [(1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_modulations_are_computed_for_some_steps_at_once_and_for_none_that_does_not_come(
    model: Comparison, asked: list[int], steps: int, wanted: list[int]
) -> None:
    assert STEPS_AHEAD == 4
    model.assert_equal(model.together([image(steps=steps)]))
    assert asked == wanted


def test_rows_that_share_a_step_share_the_computation(model: Comparison, asked: list[int]) -> None:
    model.assert_equal(model.together([image(seed=seed, steps=3) for seed in range(3)]))
    assert asked == [9]


def test_both_rows_of_true_cfg_have_their_own(model: Comparison, asked: list[int]) -> None:
    model.assert_equal(model.together([pair("a cat", negative="a dog", steps=6)]))
    assert asked == [8, 4]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [(9, 2, [4, 4 + 2, 4]), (4, 4, [4, 4])],
    ids=["who has less than it may is computed along", "who has all that is left is not computed again"],
)
def test_whoever_joins_after_a_step_has_others_computed_along_as_they_need(
    model: Comparison, asked: list[int], first: int, second: int, wanted: list[int]
) -> None:
    bench, recorder = model.bench()
    bench.submit(image(seed=1, steps=first))
    while asked != [4]:
        bench.turn()
    bench.submit(image(seed=2, steps=second))
    bench.finish()
    assert asked == wanted
    model.assert_equal(recorder.made)


def test_a_compiler_sees_modulations_of_one_step_and_of_more_before_anyone_asks(
    model: Comparison, asked: list[int]
) -> None:
    first_steps(model.model, SMALL)
    assert asked == [1, STEPS_AHEAD, 2 * STEPS_AHEAD]


def test_warm_up_times_steps_with_one_computation_for_all_of_them(model: Comparison, asked: list[int]) -> None:
    Trial(model.model, SMALL).steps(2)()
    assert asked == [2 * STEPS_AHEAD]


def test_a_reproducible_image_is_computed_step_by_step(model: Comparison, asked: list[int]) -> None:
    model.together([image(steps=3, reproducible=True)])
    assert asked == [1, 1, 1]


def test_a_row_keeps_what_it_says_and_nothing_of_its_neighbours(model: Comparison) -> None:
    bench, _ = model.bench()
    numbers = [bench.submit(image(seed=seed, steps=9)) for seed in range(3)]
    while not all(number in bench.loop._images and bench.loop._images[number].encoded for number in numbers):
        bench.turn()
    bench.turn()
    for number in numbers:
        values = bench.loop._images[number].trajectory.ahead.values
        assert values.untyped_storage().nbytes() == values.nbytes == model.model.modulation_bytes


@pytest.mark.parametrize("survivors", [0, 1])
def test_memory_that_runs_out_while_steps_are_computed_ahead_changes_no_image(
    model: Comparison, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """The first rows of a computation get theirs, the next does not; then each row is run again by itself."""
    true_clone, true_modulations, left = torch.Tensor.clone, ModulatedTransformer.modulations, [-1]

    def modulations(self: ModulatedTransformer, timesteps: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(timesteps) == 2 * STEPS_AHEAD and left == [-1] and bench.all(StepDone):
            left[0] = survivors
        return true_modulations(self, timesteps, *rest)

    def clone(tensor: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        if tensor.dim() == 2 and len(tensor) == STEPS_AHEAD and left[0] >= 0:
            left[0] -= 1
            if left[0] == -1:
                left[0] = -2
                raise torch.OutOfMemoryError
        return true_clone(tensor, *rest, **more)

    monkeypatch.setattr(ModulatedTransformer, "modulations", modulations)
    monkeypatch.setattr(torch.Tensor, "clone", clone)
    bench, recorder = model.bench()
    for seed in range(2):
        bench.submit(image(seed=seed, steps=8))
    bench.finish()
    assert left == [-2], "it did run out"
    assert len(recorder.made) == 2
    model.assert_equal(recorder.made)


def test_a_model_whose_blocks_are_elsewhere_is_the_stock_one(dev_model: Path) -> None:
    offloaded = load(dev_model, offload="group")
    assert type(offloaded._parts.transformer) is FluxTransformer2DModel
    assert offloaded.modulation_bytes == 0


def test_what_is_ahead_is_counted_from_where_an_image_is() -> None:
    ahead = Ahead(most=4)
    assert ahead.left(0) == 0
    ahead.first, ahead.values = 3, torch.arange(4.0).view(4, 1)
    assert [ahead.left(index) for index in (3, 5, 6, 7, 9)] == [4, 2, 1, 0, 0]
    assert torch.equal(ahead.at(5), torch.tensor([[2.0]]))
