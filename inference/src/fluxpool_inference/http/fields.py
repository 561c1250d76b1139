"""Reads the fields of a JSON object one by one; each error names the field and what is allowed.

null counts as absent everywhere, since OpenAI's clients send it for what their user left out.
"""

import difflib
from collections.abc import Mapping, Sequence

from fluxpool_inference.errors import InvalidRequestError

_JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class Fields:
    """The fields of one JSON object. Every method raises InvalidRequestError."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        self._known: set[str] = set()

    def _take(self, name: str) -> object:
        self._known.add(name)
        return self._body.get(name)

    def ignore(self, names: Sequence[str]) -> None:
        """Accept these whatever they hold."""
        self._known.update(names)

    def refuse(self, name: str, why: str, *, allowed: Sequence[object] = ()) -> None:
        """Refuse the field unless it is absent or holds one of the allowed values; `why` completes "'name' …"."""
        value = self._take(name)
        if value is not None and value not in allowed:
            raise InvalidRequestError(f"'{name}' {why}.", param=name, code="unsupported_parameter")

    def refuse_unknown(self) -> None:
        """Refuse every field that was not asked for by name before, with the nearest name there is."""
        for name in self._body:
            if name in self._known:
                continue
            nearest = difflib.get_close_matches(name[:100], self._known, n=1)
            hint = f" Did you mean '{nearest[0]}'?" if nearest else f" Known fields: {', '.join(sorted(self._known))}."
            raise InvalidRequestError(
                f"Unknown field '{name[:100]}'.{hint}", param=name[:100], code="unknown_parameter"
            )

    def text(self, name: str, *, max_chars: int) -> str:
        """A required string of 1 to `max_chars` characters, not only blanks, that has a UTF-8 form."""
        value = self._take(name)
        if value is None:
            raise InvalidRequestError(
                f"'{name}' is required: a string of 1 to {max_chars} characters.",
                param=name,
                code="missing_required_parameter",
            )
        if not isinstance(value, str):
            raise _wrong_type(name, f"a string of 1 to {max_chars} characters", value)
        if not value.strip():
            raise InvalidRequestError(
                f"'{name}' must be a string of 1 to {max_chars} characters, and is empty.",
                param=name,
                code="empty_string",
            )
        if len(value) > max_chars:
            raise InvalidRequestError(
                f"'{name}' must have at most {max_chars} characters, and has {len(value)}.",
                param=name,
                code="string_above_max_length",
            )
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidRequestError(f"'{name}' must be valid Unicode, without lone surrogates.", param=name)
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """One of the allowed strings."""
        value = self._take(name)
        if value is None:
            return default
        listed = ", ".join(f"'{choice}'" for choice in allowed)
        if not isinstance(value, str):
            raise _wrong_type(name, f"one of {listed}", value)
        if value not in allowed:
            raise InvalidRequestError(f"'{name}' must be one of {listed}, and is '{value[:100]}'.", param=name)
        return value

    def string(self, name: str, what: str) -> str | None:
        """Any string; `what` completes "must be …"."""
        value = self._take(name)
        if value is None or isinstance(value, str):
            return value
        raise _wrong_type(name, what, value)

    def integer(self, name: str, *, minimum: int, maximum: int) -> int | None:
        """An integer within the bounds, which are both allowed."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(name, f"an integer from {minimum} to {maximum}", value)
        if not minimum <= value <= maximum:
            raise _out_of_range(name, f"an integer from {minimum} to {maximum}", value, below=value < minimum)
        return value

    def number(self, name: str, *, minimum: float, maximum: float) -> float | None:
        """A number within the bounds, which are both allowed."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong_type(name, f"a number from {minimum:g} to {maximum:g}", value)
        if not minimum <= value <= maximum:
            raise _out_of_range(name, f"a number from {minimum:g} to {maximum:g}", value, below=value < minimum)
        return float(value)


def _wrong_type(name: str, expected: str, value: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"'{name}' must be {expected}, and is {_JSON_TYPES[type(value)]}.", param=name, code="invalid_type"
    )


def _out_of_range(name: str, expected: str, value: float, *, below: bool) -> InvalidRequestError:
    code = "integer_below_min_value" if below else "integer_above_max_value"
    shown = str(value)
    if len(shown) > 40:
        shown = "out of range"
    return InvalidRequestError(f"'{name}' must be {expected}, and is {shown}.", param=name, code=code)
