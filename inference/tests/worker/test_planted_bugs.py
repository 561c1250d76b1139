"""The comparison with stock sees the errors that batching invites: each is planted here and must stand out.

A comparison that passed with one of these in place would prove nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import TEXT_TOKENS, image, pair
from comparison import TOLERANCE, Comparison, load
from stock import Stock

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker import flux, formulas
from fluxpool_inference.worker.flux import FluxModel
from fluxpool_inference.worker.prompts import PromptCache
from fluxpool_inference.worker.trajectory import Conditioning, Trajectory

Plant = Callable[[pytest.MonkeyPatch], None]
PAIRS = [
    pair("a cat", negative="a dog", seed=1, steps=4, scale=3.3),
    image("a dog", seed=2, steps=3),
    pair("a bird", negative="a tree", seed=3, steps=2, scale=7.0),
]
MIXED = [
    image("a cat", seed=1, steps=2, guidance=1.0),
    image("a dog", seed=2, steps=8, guidance=7.0),
    image("a bird", seed=3, steps=4, guidance=3.5),
]


def shared_by_rows(monkeypatch: pytest.MonkeyPatch, share: Callable[[Trajectory, Trajectory], Trajectory]) -> None:
    """The forward sees, of each row, what `share(first row, row)` makes of it."""
    true_velocity = FluxModel._velocity

    def velocity(model: FluxModel, bucket: Bucket, rows: Sequence[Trajectory], latents: torch.Tensor) -> torch.Tensor:
        return true_velocity(model, bucket, [share(rows[0], row) for row in rows], latents)

    monkeypatch.setattr(FluxModel, "_velocity", velocity)


def shared_timestep(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_by_rows(monkeypatch, lambda first, row: replace(row, timesteps=first.timesteps, index=first.index))


def shared_guidance(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_by_rows(monkeypatch, lambda first, row: replace(row, guidance=first.guidance))


def shared_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    shared_by_rows(monkeypatch, lambda first, row: replace(row, conditioning=first.conditioning))


def shared_d_sigma(monkeypatch: pytest.MonkeyPatch) -> None:
    true_step = formulas.euler_step

    def step(latents: torch.Tensor, velocity: torch.Tensor, d_sigma: torch.Tensor) -> torch.Tensor:
        return true_step(latents, velocity, d_sigma[:1].expand(len(d_sigma)))

    monkeypatch.setattr(flux, "euler_step", step)


def one_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first image of the batch is right, and all others are wrong."""
    generators: list[torch.Generator] = []
    true_noise = flux.randn_tensor

    def noise(shape: tuple[int, ...], *, generator: torch.Generator, **more: Any) -> torch.Tensor:
        generators.append(generator)
        return true_noise(shape, generator=generators[0], **more)

    monkeypatch.setattr(flux, "randn_tensor", noise)


def swapped_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts encoded together come back in another order."""
    true_encode = FluxModel.encode
    monkeypatch.setattr(FluxModel, "encode", lambda *arguments: true_encode(*arguments)[::-1])


def swapped_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the number of tokens is right."""
    true_places = FluxModel._new_places

    def places(model: FluxModel, bucket: Bucket) -> dict[str, Any]:
        return true_places(model, Bucket(bucket.width, bucket.height, bucket.text_tokens))

    monkeypatch.setattr(FluxModel, "_new_places", places)


def forgotten_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flux, "guided", lambda positive, negative, scale: positive)


def swapped_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    true_guided = formulas.guided
    monkeypatch.setattr(flux, "guided", lambda positive, negative, scale: true_guided(negative, positive, scale))


def shared_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    true_guided = formulas.guided
    monkeypatch.setattr(flux, "guided", lambda positive, negative, scale: true_guided(positive, negative, 1.5))


def shared_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative prompt has its own text, and the pooled embedding of the prompt."""
    true_begin = FluxModel.begin

    def begin(
        model: FluxModel,
        request: ImageRequest,
        bucket: Bucket,
        text: Conditioning,
        negative: Conditioning | None = None,
    ) -> Trajectory:
        shared = replace(negative, pooled=text.pooled) if negative else None
        return true_begin(model, request, bucket, text, shared)

    monkeypatch.setattr(FluxModel, "begin", begin)


def crossed_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each negative prompt is that of another pair."""
    true_velocity = FluxModel._guided_velocity

    def velocity(
        model: FluxModel,
        bucket: Bucket,
        images: Sequence[Trajectory],
        negatives: Mapping[int, Conditioning],
        **how: Any,
    ) -> torch.Tensor:
        crossed = dict(zip(negatives, reversed(negatives.values()), strict=True))
        return true_velocity(model, bucket, images, crossed, **how)

    monkeypatch.setattr(FluxModel, "_guided_velocity", velocity)


def worst_with(plant: Plant, comparison: Comparison, requests: Sequence[ImageRequest]) -> float:
    """The largest difference to stock, with a fresh model of the same weights, of which nothing is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        model = FluxModel(comparison.model._parts, comparison.model.info, comparison.model.device)
        planted = Comparison(model, comparison.stock)
        made = planted.together(requests)
        worst = planted.worst(made)
        if worst > TOLERANCE:
            with pytest.raises(AssertionError):
                planted.assert_equal(made)
        return worst


@pytest.mark.parametrize(
    "plant", [shared_timestep, shared_guidance, shared_prompt, shared_d_sigma, one_generator, swapped_prompts]
)
def test_a_planted_bug_differs_from_stock_far_beyond_the_tolerance(dev: Comparison, plant: Plant) -> None:
    assert worst_with(plant, dev, MIXED) > 4000 * TOLERANCE


@pytest.mark.parametrize("plant", [forgotten_negative, swapped_pair, shared_scale, shared_pooled, crossed_pairs])
def test_a_bug_planted_into_true_cfg_differs_from_stock_far_beyond_the_tolerance(dev: Comparison, plant: Plant) -> None:
    assert worst_with(plant, dev, PAIRS) > 1000 * TOLERANCE


def test_a_scale_that_is_rounded_to_bfloat16_is_seen_there(dev_model: Path) -> None:
    def rounded(positive: torch.Tensor, negative: torch.Tensor, scale: float) -> torch.Tensor:
        return negative + torch.tensor(scale, dtype=negative.dtype) * (positive - negative)

    comparison = Comparison(load(dev_model, "bfloat16"), Stock(dev_model, torch.bfloat16, TEXT_TOKENS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flux, "guided", rounded)
        assert comparison.worst(comparison.together(PAIRS)) > 0
    assert comparison.worst(comparison.together(PAIRS)) == 0


def test_swapped_sides_of_an_oblong_image_differ_from_stock(dev: Comparison) -> None:
    assert worst_with(swapped_sides, dev, [image(width=128, height=32)]) > 100 * TOLERANCE


def test_with_nothing_planted_the_same_images_equal_stock(dev: Comparison) -> None:
    assert worst_with(lambda _: None, dev, [*MIXED, *PAIRS]) <= TOLERANCE


def test_a_nan_is_no_equality(dev: Comparison) -> None:
    request = MIXED[0]
    assert dev.difference(request, torch.full_like(dev.stock.latents(request), torch.nan)) == float("inf")


def test_a_bug_that_needs_company_cannot_be_seen_alone(dev: Comparison) -> None:
    assert worst_with(shared_timestep, dev, MIXED[1:2]) <= TOLERANCE, "hence the mixed batches"


def test_a_prompt_cache_that_ignores_the_text_is_seen(dev: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    true_get, true_put = PromptCache.get, PromptCache.put

    def get(cache: PromptCache[Conditioning], prompt: str, text_tokens: int) -> Conditioning | None:
        return true_get(cache, "", text_tokens)

    def put(cache: PromptCache[Conditioning], prompt: str, text_tokens: int, value: Conditioning) -> None:
        true_put(cache, "", text_tokens, value)

    monkeypatch.setattr(PromptCache, "get", get)
    monkeypatch.setattr(PromptCache, "put", put)
    again = image(MIXED[0].prompt, seed=9)
    assert dev.worst(dev.together([*MIXED, again])) > 100 * TOLERANCE
