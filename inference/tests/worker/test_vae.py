"""How the VAE lies in memory and how much it decodes at once: options of the loader."""

from pathlib import Path

import numpy as np
import torch
from bench import TEXT_TOKENS, image
from comparison import Comparison, load

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest
from fluxpool_inference.worker.flux import FluxModel


def pixels(model: FluxModel, request: ImageRequest) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    bucket = Bucket.of(request, TEXT_TOKENS)
    (text,) = model.encode([request.prompt], TEXT_TOKENS)
    return np.asarray(model.decode(bucket, [model.begin(request, bucket, text)])[0]).astype(int)


def test_channels_last_changes_a_rounding_at_most(dev_model: Path, dev: Comparison) -> None:
    model = load(dev_model, vae_channels_last=True)
    assert model._parts.vae.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    request = image(seed=3)
    assert np.abs(pixels(model, request) - pixels(dev.model, request)).max() <= 1


def test_on_a_cpu_the_layout_is_that_of_stock(dev: Comparison) -> None:
    assert dev.model._parts.vae.decoder.conv_in.weight.is_contiguous()


def test_tiles_change_images_that_are_larger_than_one(dev_model: Path, dev: Comparison) -> None:
    model = load(dev_model, vae_tiling=True)
    side = model._parts.vae.tile_sample_min_size
    small, large = image(width=side, height=side), image(width=4 * side, height=3 * side)
    assert np.array_equal(pixels(model, small), pixels(dev.model, small))
    found = pixels(model, large)
    assert found.shape == (3 * side, 4 * side, 3)
    assert not np.array_equal(found, pixels(dev.model, large))
