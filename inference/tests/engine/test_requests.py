"""What is no request, whoever makes it, and what one needs."""

import math

import pytest
from bench import image, pair

from fluxpool_inference.engine import TrueCfg


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"width": 72}, "multiples of 16"),
        ({"height": 0}, "multiples of 16"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**64}, "seed must be"),
        ({"prompt": "\ud800"}, "^prompt must be valid Unicode"),
        ({"negative": "\ud800"}, "^negative_prompt must be valid Unicode"),
        ({"scale": 1.0}, "above 1"),
        ({"scale": math.inf}, "finite"),
        ({"scale": math.nan}, "finite"),
    ],
)
def test_a_request_that_cannot_be_made_is_an_error_that_names_what_is_wrong(
    wrong: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        pair(**wrong)  # type: ignore[arg-type]


def test_a_request_has_a_row_for_each_of_its_prompts() -> None:
    single, both = image("a cat"), pair("a cat", negative="")
    assert (single.prompts, single.rows) == (("a cat",), 1)
    assert (both.prompts, both.rows) == (("a cat", ""), 2)
    assert both.true_cfg == TrueCfg("", 3.3)
