"""Fields of `POST /v1/images/generations` that a request may not have, or not with this value: a 400 that says why."""

import httpx
import pytest
from edge_client import URL, Client, error, listening, make_client

from fluxpool_inference.values import ModelInfo

BAD_BODIES: list[tuple[dict[str, object], str, str]] = [
    ({"prompt": None}, "prompt", "'prompt' is required: a string of 1 to 32000 characters."),
    ({"prompt": ""}, "prompt", "1 to 32000 characters"),
    ({"prompt": " \n\t"}, "prompt", "1 to 32000 characters"),
    ({"prompt": "x" * 32_001}, "prompt", "at most 32000 characters, and has 32001"),
    ({"prompt": 5}, "prompt", "a string of 1 to 32000 characters, and is an integer"),
    ({"prompt": ["a"]}, "prompt", "and is an array"),
    ({"prompt": {"a": 1}}, "prompt", "and is an object"),
    ({"prompt": "\ud800"}, "prompt", "valid Unicode"),
    ({"model": 3}, "model", "'acme/flux'"),
    ({"n": 0}, "n", "an integer from 1 to 4, and is 0"),
    ({"n": 5}, "n", "an integer from 1 to 4, and is 5"),
    ({"n": -1}, "n", "an integer from 1 to 4"),
    ({"n": "2"}, "n", "an integer from 1 to 4, and is a string"),
    ({"n": 1.0}, "n", "an integer from 1 to 4, and is a number"),
    ({"n": True}, "n", "an integer from 1 to 4, and is a boolean"),
    ({"n": 10**1000}, "n", "an integer from 1 to 4, and is out of range"),
    ({"size": "65x64"}, "size", "divisible by 16, and is 65x64"),
    ({"size": "64x72"}, "size", "divisible by 16"),
    ({"size": "48x64"}, "size", "at least 64 pixels"),
    ({"size": "64x0"}, "size", "at least 64 pixels"),
    ({"size": "1024x1024"}, "size", "at most 262144 pixels"),
    ({"size": "99999x16"}, "size", "divisible by 16"),
    ({"size": "large"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "64X64"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "64x64 "}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": "٦٤x64"}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"size": 64}, "size", "'auto' or 'WIDTHxHEIGHT'"),
    ({"seed": -1}, "seed", "from 0 to 18446744073709551615"),
    ({"seed": 2**64}, "seed", "from 0 to 18446744073709551615"),
    ({"seed": 2**64 - 1, "n": 2}, "seed", "from 0 to 18446744073709551614"),
    ({"seed": "1"}, "seed", "and is a string"),
    ({"seed": 1.5}, "seed", "and is a number"),
    ({"num_inference_steps": 0}, "num_inference_steps", "from 1 to 50"),
    ({"num_inference_steps": 51}, "num_inference_steps", "from 1 to 50"),
    ({"num_inference_steps": "4"}, "num_inference_steps", "from 1 to 50"),
    ({"guidance_scale": -0.1}, "guidance_scale", "from 0 to 100"),
    ({"guidance_scale": 100.5}, "guidance_scale", "from 0 to 100"),
    ({"guidance_scale": "3"}, "guidance_scale", "a number from 0 to 100"),
    ({"guidance_scale": False}, "guidance_scale", "a number from 0 to 100"),
    ({"negative_prompt": "a"}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": ""}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": "a", "true_cfg_scale": None}, "negative_prompt", "needs a 'true_cfg_scale' above 1"),
    ({"negative_prompt": "a", "true_cfg_scale": 1}, "true_cfg_scale", "'negative_prompt' needs a 'true_cfg_scale'"),
    ({"true_cfg_scale": 2}, "true_cfg_scale", "above 1 needs a 'negative_prompt', which may be empty"),
    ({"true_cfg_scale": 2, "negative_prompt": None}, "true_cfg_scale", "needs a 'negative_prompt'"),
    ({"true_cfg_scale": 0.9}, "true_cfg_scale", "a number from 1 to 100, and is 0.9"),
    ({"true_cfg_scale": 100.5, "negative_prompt": "a"}, "true_cfg_scale", "a number from 1 to 100"),
    ({"true_cfg_scale": "2", "negative_prompt": "a"}, "true_cfg_scale", "a number from 1 to 100, and is a string"),
    ({"true_cfg_scale": True, "negative_prompt": "a"}, "true_cfg_scale", "and is a boolean"),
    ({"negative_prompt": ["a"], "true_cfg_scale": 2}, "negative_prompt", "at most 32000 characters, and is an array"),
    ({"negative_prompt": "x" * 32_001, "true_cfg_scale": 2}, "negative_prompt", "characters, and has 32001"),
    ({"negative_prompt": "\ud800", "true_cfg_scale": 2}, "negative_prompt", "valid Unicode"),
    ({"reproducible": 1}, "reproducible", "true or false, and is an integer"),
    ({"reproducible": "true"}, "reproducible", "true or false, and is a string"),
    ({"negative_promt": "a"}, "negative_promt", "Did you mean 'negative_prompt'?"),
    ({"cfg_scale": 2}, "cfg_scale", "Did you mean 'true_cfg_scale'?"),
    ({"output_format": "gif"}, "output_format", "one of 'png', 'jpeg', 'webp', and is 'gif'"),
    ({"output_format": 1}, "output_format", "one of 'png', 'jpeg', 'webp'"),
    ({"output_compression": 101, "output_format": "jpeg"}, "output_compression", "from 0 to 100"),
    ({"output_compression": -1, "output_format": "webp"}, "output_compression", "from 0 to 100"),
    ({"output_compression": 50}, "output_compression", "must be 100 or left out"),
    ({"response_format": "url"}, "response_format", "must be 'b64_json'"),
    ({"response_format": "png"}, "response_format", "must be 'b64_json'"),
    ({"response_format": 1}, "response_format", "must be 'b64_json'"),
    ({"stream": True}, "stream", "must be false or left out"),
    ({"stream": 0}, "stream", "must be false or left out"),
    ({"partial_images": False}, "partial_images", "must be 0 or left out"),
    ({"partial_images": 2}, "partial_images", "must be 0 or left out"),
    ({"frame_count": 4}, "frame_count", "must be left out"),
    ({"svg": {}}, "svg", "must be left out"),
    ({"num_inference_step": 4}, "num_inference_step", "Did you mean 'num_inference_steps'?"),
    ({"guidance": 4}, "guidance", "Did you mean 'guidance_scale'?"),
    ({"lora": "x"}, "lora", "Known fields: background, complexity"),
    ({"\ud800": "x"}, "\ud800", "Unknown field"),
    ({"x" * 5000: "x"}, "x" * 100, "Unknown field"),
]


@pytest.mark.parametrize(("body", "param", "says"), BAD_BODIES, ids=lambda value: ascii(value)[:40])
async def test_a_bad_field_is_a_400_that_names_it_and_what_is_allowed(
    client: Client, body: dict[str, object], param: str, says: str
) -> None:
    found = error(await client.generate(**body), 400)
    assert found["type"] == "invalid_request_error"
    assert found["param"] == param
    assert says in str(found["message"])
    assert f"'{param}'" in str(found["message"])
    assert len(str(found["message"])) < 700
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1
    assert await client.value("fluxpool_admitted_images_total") == 0


@pytest.mark.parametrize(
    ("image_format", "fits", "too_long", "longest"),
    [
        ("webp", "16368x64", "16384x64", 16383),
        ("webp", "64x16368", "64x16384", 16383),
        ("jpeg", "65488x64", "65504x64", 65500),
        ("png", "65520x64", None, None),
    ],
)
async def test_a_side_that_a_format_cannot_have_is_a_400_before_anything_is_made(
    image_format: str, fits: str, too_long: str | None, longest: int | None
) -> None:
    client = await make_client(max_pixels=65536 * 64)
    async with listening(client) as url, httpx.AsyncClient(base_url=url) as http:
        bodies = [{"prompt": "a", "output_format": image_format, "size": size} for size in (fits, too_long)]
        assert (await http.post(URL, json=bodies[0])).status_code == 200
        if too_long is not None:
            assert error(await http.post(URL, json=bodies[1]), 400) == {
                "message": f"'size' must have a width and height of at most {longest} pixels where 'output_format' is"
                f" {image_format}, and is {too_long}.",
                "type": "invalid_request_error",
                "param": "size",
                "code": "invalid_value",
            }
        assert await client.value("fluxpool_admitted_images_total") == 1
    client.edge.encoder.close()


async def test_a_default_size_that_a_format_cannot_have_is_refused_with_that_format_alone() -> None:
    client = await make_client(max_pixels=65536 * 64, default_size="16384x64")
    found = error(await client.generate(size="auto", output_format="webp"), 400)
    assert (found["param"], "16384x64" in str(found["message"])) == ("size", True)
    assert (await client.generate(size="auto")).status_code == 200
    client.edge.encoder.close()


async def test_a_guidance_scale_for_a_model_without_guidance_is_a_400(client: Client) -> None:
    client.engine.model_info = ModelInfo("m", "flux-schnell", False, None, 4, 256, "float32", "cpu", 1000)
    found = error(await client.generate(guidance_scale=3.5), 400)
    assert found["param"] == "guidance_scale"
    assert "no guidance embedding" in str(found["message"])
    assert (await client.generate()).status_code == 200
