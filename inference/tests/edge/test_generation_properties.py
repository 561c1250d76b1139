from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.engine import ModelInfo
from fluxpool_inference.errors import InvalidRequestError
from fluxpool_inference.http.generation import Generation, GenerationParser
from fluxpool_inference.http.generation_fields import Bounds
from fluxpool_inference.size import Size

BOUNDS = Bounds(
    model_names=("m",),
    max_steps=50,
    max_images=4,
    min_side=64,
    max_pixels=512 * 512,
    default_size=Size(256, 256),
    image_formats=("png", "jpeg", "webp"),
    max_prompt_chars=100,
)
MODEL = ModelInfo("m", "flux-dev", True, 3.5, 28, 512, "float32", "cpu", 1000)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
field_names = st.sampled_from(
    [
        *("prompt", "model", "n", "size", "seed", "num_inference_steps", "guidance_scale", "output_format", "stream"),
        *("negative_prompt", "true_cfg_scale", "reproducible"),
    ]
)
plausible = st.fixed_dictionaries(
    {"prompt": st.text(min_size=1, max_size=20)},
    optional={
        "n": st.integers(0, 5),
        "seed": st.integers(-1, 2**64),
        "size": st.builds(lambda w, h: f"{w * 16}x{h * 16}", st.integers(1, 40), st.integers(1, 40)),
        "num_inference_steps": st.integers(0, 51),
        "negative_prompt": st.none() | st.text(max_size=110),
        "true_cfg_scale": st.none() | st.floats(0.5, 101) | st.integers(0, 2),
    },
)


def parse(body: dict[str, object]) -> Generation | InvalidRequestError:
    try:
        return GenerationParser(BOUNDS).parse(body, MODEL)
    except InvalidRequestError as error:
        return error


@given(plausible | st.dictionaries(field_names | st.text(max_size=8), json_values, max_size=6))
def test_any_json_object_is_either_within_the_bounds_or_refused_by_name(body: dict[str, object]) -> None:
    outcome = parse(body)
    if isinstance(outcome, InvalidRequestError):
        assert outcome.param is not None
        assert outcome.param in outcome.message
        return
    generation = outcome
    assert 1 <= len(generation.images) <= 4
    for image in generation.images:
        assert image.width * image.height <= BOUNDS.max_pixels
        assert min(image.width, image.height) >= 64
        assert 1 <= image.steps <= 50
        assert 1 <= len(image.prompt) <= 100
        guided = body.get("negative_prompt") is not None
        assert (image.true_cfg is not None) == guided == (image.rows == 2)
        assert image.true_cfg is None or 1 < image.true_cfg.scale <= 100


@given(st.integers(0, 2**64 - 4), st.integers(1, 4))
def test_the_same_seed_gives_the_same_seeds_whatever_was_drawn(seed: int, count: int) -> None:
    generation = GenerationParser(BOUNDS, lambda: 99).parse({"prompt": "p", "seed": seed, "n": count}, MODEL)
    assert [image.seed for image in generation.images] == list(range(seed, seed + count))


def test_without_a_seed_the_source_is_asked_once_for_all_images() -> None:
    drawn = iter([7])
    generation = GenerationParser(BOUNDS, lambda: next(drawn)).parse({"prompt": "p", "n": 3}, MODEL)
    assert [image.seed for image in generation.images] == [7, 8, 9]
