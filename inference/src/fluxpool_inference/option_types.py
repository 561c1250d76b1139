"""Options that are more than a word or a number, each with how it is read from the text of a flag or a variable."""

from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from fluxpool_inference.configuration import QUANTIZE_FORMS, Pace, Quantize
from fluxpool_inference.size import Size

ImageFormat = Literal["png", "jpeg", "webp"]


def _parse_size(value: object) -> object:
    return Size.parse(value) if isinstance(value, str) else value


def _parse_pace(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        fixed, per_row = (float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("must be two numbers of seconds, A,C, such as 0.05,0.02") from None
    if not (0 <= fixed < 3600 and 0 <= per_row < 3600 and fixed + per_row > 0):
        raise ValueError("seconds must be 0 to 3600 and not both 0")
    return Pace(fixed, per_row)


def _parse_quantize(value: object) -> object:
    if not isinstance(value, str):
        return value
    form, _, file = value.partition(":")
    if form not in QUANTIZE_FORMS or (form == "gguf") != bool(file):
        choices = ", ".join("gguf:FILE" if form == "gguf" else form for form in QUANTIZE_FORMS)
        raise ValueError(f"must be one of {choices}")
    return Quantize(form, file)


def _parse_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


SizeOption = Annotated[Size, NoDecode, BeforeValidator(_parse_size)]
PaceOption = Annotated[Pace, NoDecode, BeforeValidator(_parse_pace)]
QuantizeOption = Annotated[Quantize, NoDecode, BeforeValidator(_parse_quantize)]
FormatsOption = Annotated[tuple[ImageFormat, ...], NoDecode, BeforeValidator(_parse_list)]
NamesOption = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_list)]
