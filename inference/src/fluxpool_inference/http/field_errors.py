"""What is said of a field that is not as it must be. `expected` is what is allowed, and completes "must be …"."""

from fluxpool_inference.errors import InvalidRequestError

_JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def require_encodable(name: str, text: str, max_chars: int) -> None:
    """Raise InvalidRequestError for a string of more characters, or one that has no UTF-8 form."""
    if len(text) > max_chars:
        raise InvalidRequestError(
            f"'{name}' must have at most {max_chars} characters, and has {len(text)}.",
            param=name,
            code="string_above_max_length",
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRequestError(f"'{name}' must be valid Unicode, without lone surrogates.", param=name)


def missing(name: str, expected: str) -> InvalidRequestError:
    """Of a field that must be there."""
    return InvalidRequestError(f"'{name}' is required: {expected}.", param=name, code="missing_required_parameter")


def wrong_type(name: str, expected: str, value: object) -> InvalidRequestError:
    """Of a value that JSON has as something else."""
    return InvalidRequestError(
        f"'{name}' must be {expected}, and is {_JSON_TYPES[type(value)]}.", param=name, code="invalid_type"
    )


def out_of_range(name: str, expected: str, value: float, *, below: bool) -> InvalidRequestError:
    """Of a number outside its bounds, shown unless it is very long."""
    code = "integer_below_min_value" if below else "integer_above_max_value"
    shown = str(value)
    if len(shown) > 40:
        shown = "out of range"
    return InvalidRequestError(f"'{name}' must be {expected}, and is {shown}.", param=name, code=code)
