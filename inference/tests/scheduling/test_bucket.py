from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import ImageRequest


def request(**changes: object) -> ImageRequest:
    facts: dict[str, object] = {
        "prompt": "a cat", "width": 512, "height": 256, "steps": 4, "guidance": 3.5, "seed": 0,
    }  # fmt: skip
    return ImageRequest(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_bucket_is_the_latent_grid_and_the_text_length() -> None:
    assert Bucket.of(request(), 512) == Bucket(height=16, width=32, text_tokens=512)
    assert Bucket.of(request(max_sequence_length=128), 512) == Bucket(16, 32, 128)


def test_a_turned_grid_of_the_same_area_is_another_bucket() -> None:
    assert Bucket.of(request(), 512) != Bucket.of(request(width=256, height=512), 512)


def test_steps_guidance_prompt_and_seed_do_not_split_buckets() -> None:
    other = request(prompt="a dog", steps=28, guidance=7.0, seed=9)
    assert Bucket.of(request(), 512) == Bucket.of(other, 512)


def test_tokens_and_pixels_are_those_of_the_image() -> None:
    bucket = Bucket.of_size(1024, 1024, 512)
    assert (bucket.image_tokens, bucket.tokens, bucket.pixels) == (4096, 4608, 1024 * 1024)
