"""The fields of a JSON object: each reads itself from a body and describes itself in JSON Schema, from one declaration.

An error names the field and what is allowed. null counts as absent wherever a field may be absent, since OpenAI's
clients send it for what their user left out.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fluxpool_inference.errors import InvalidRequestError
from fluxpool_inference.http.field_errors import missing, out_of_range, require_encodable, wrong_type

Body = Mapping[str, object]
Schema = dict[str, object]


class Field(Protocol):
    """What all fields have. Every `read` raises InvalidRequestError."""

    @property
    def name(self) -> str:
        """Its key."""

    @property
    def required(self) -> bool:
        """Whether it must be there."""

    def schema(self) -> Schema:
        """What it may hold, in JSON Schema."""


@dataclass(frozen=True, slots=True)
class Text:
    """A required string of 1 to `max_chars` characters, not only blanks, that has a UTF-8 form."""

    name: str
    description: str
    max_chars: int
    required: bool = True

    def read(self, body: Body) -> str:
        """The string."""
        value = body.get(self.name)
        expected = f"a string of 1 to {self.max_chars} characters"
        if value is None:
            raise missing(self.name, expected)
        if not isinstance(value, str):
            raise wrong_type(self.name, expected, value)
        if not value.strip():
            raise InvalidRequestError(
                f"'{self.name}' must be {expected}, and is empty.", param=self.name, code="empty_string"
            )
        require_encodable(self.name, value, self.max_chars)
        return value

    def schema(self) -> Schema:
        """See `Field`."""
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": self.max_chars,
            "pattern": r"\S",
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class OptionalText:
    """An optional string of at most `max_chars` characters, also empty, that has a UTF-8 form."""

    name: str
    description: str
    max_chars: int
    required: bool = False

    def read(self, body: Body) -> str | None:
        """The string, or None."""
        value = body.get(self.name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise wrong_type(self.name, f"a string of at most {self.max_chars} characters", value)
        require_encodable(self.name, value, self.max_chars)
        return value

    def schema(self) -> Schema:
        """See `Field`."""
        return {"type": ["string", "null"], "maxLength": self.max_chars, "description": self.description}


@dataclass(frozen=True, slots=True)
class String:
    """An optional string; `expected` completes "must be …", and `pattern` is for the documentation only."""

    name: str
    description: str
    expected: str
    pattern: str | None = None
    required: bool = False

    def read(self, body: Body) -> str | None:
        """The string, or None."""
        value = body.get(self.name)
        if value is None or isinstance(value, str):
            return value
        raise wrong_type(self.name, self.expected, value)

    def schema(self) -> Schema:
        """See `Field`."""
        pattern = {"pattern": self.pattern} if self.pattern else {}
        return {"type": ["string", "null"], **pattern, "description": self.description}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some strings; the first is the default."""

    name: str
    description: str
    allowed: Sequence[str]
    required: bool = False

    def read(self, body: Body) -> str:
        """The string."""
        value = body.get(self.name)
        if value is None:
            return self.allowed[0]
        listed = ", ".join(f"'{choice}'" for choice in self.allowed)
        if not isinstance(value, str):
            raise wrong_type(self.name, f"one of {listed}", value)
        if value not in self.allowed:
            raise InvalidRequestError(
                f"'{self.name}' must be one of {listed}, and is '{value[:100]}'.", param=self.name
            )
        return value

    def schema(self) -> Schema:
        """See `Field`."""
        return {"enum": [*self.allowed, None], "default": self.allowed[0], "description": self.description}


@dataclass(frozen=True, slots=True)
class Integer:
    """An optional integer from `minimum` to `maximum`."""

    name: str
    description: str
    minimum: int
    maximum: int
    required: bool = False

    def read(self, body: Body) -> int | None:
        """The integer, or None."""
        value = body.get(self.name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(self.name, self.expected, value)
        if not self.minimum <= value <= self.maximum:
            raise out_of_range(self.name, self.expected, value, below=value < self.minimum)
        return value

    @property
    def expected(self) -> str:
        """Completes "must be …"."""
        return f"an integer from {self.minimum} to {self.maximum}"

    def schema(self) -> Schema:
        """See `Field`."""
        kind = "integer" if self.required else ["integer", "null"]
        return {"type": kind, "minimum": self.minimum, "maximum": self.maximum, "description": self.description}


@dataclass(frozen=True, slots=True)
class RequiredInteger(Integer):
    """An integer from `minimum` to `maximum` that must be there."""

    required: bool = True

    def read(self, body: Body) -> int:
        """The integer."""
        value = Integer.read(self, body)
        if value is None:
            raise missing(self.name, self.expected)
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """An optional number from `minimum` to `maximum`."""

    name: str
    description: str
    minimum: float
    maximum: float
    required: bool = False

    def read(self, body: Body) -> float | None:
        """The number, or None."""
        value = body.get(self.name)
        if value is None:
            return None
        expected = f"a number from {self.minimum:g} to {self.maximum:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(self.name, expected, value)
        if not self.minimum <= value <= self.maximum:
            raise out_of_range(self.name, expected, value, below=value < self.minimum)
        return float(value)

    def schema(self) -> Schema:
        """See `Field`."""
        return {
            "type": ["number", "null"],
            "minimum": self.minimum,
            "maximum": self.maximum,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Boolean:
    """An optional boolean, false if left out."""

    name: str
    description: str
    required: bool = False

    def read(self, body: Body) -> bool:
        """The boolean."""
        value = body.get(self.name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise wrong_type(self.name, "true or false", value)
        return value

    def schema(self) -> Schema:
        """See `Field`."""
        return {"type": ["boolean", "null"], "default": False, "description": self.description}


@dataclass(frozen=True, slots=True)
class Ignored:
    """Accepted whatever it holds."""

    name: str
    description: str
    required: bool = False

    def schema(self) -> Schema:
        """See `Field`."""
        return {"description": self.description}


@dataclass(frozen=True, slots=True)
class Refused:
    """Known, and refused unless it is absent or holds one of the values that ask for nothing."""

    name: str
    why: str
    """Completes "'name' …"."""
    harmless: Sequence[object] = ()
    required: bool = False

    def check(self, body: Body) -> None:
        """Raise InvalidRequestError for any other value."""
        value = body.get(self.name)
        asks_for_nothing = any(type(value) is type(harmless) and value == harmless for harmless in self.harmless)
        if value is not None and not asks_for_nothing:
            raise InvalidRequestError(f"'{self.name}' {self.why}.", param=self.name, code="unsupported_parameter")

    def schema(self) -> Schema:
        """See `Field`."""
        return {"enum": [*self.harmless, None], "description": self.why[0].upper() + self.why[1:] + "."}


def object_schema(title: str, fields: Iterable[Field]) -> Schema:
    """The JSON Schema of an object with these fields and no others."""
    known = list(fields)
    return {
        "title": title,
        "type": "object",
        "properties": {field.name: field.schema() for field in known},
        "required": [field.name for field in known if field.required],
        "additionalProperties": False,
    }


def refuse_unknown(body: Body, fields: Iterable[Field]) -> None:
    """Raise InvalidRequestError for a key that is none of the fields', with the nearest name there is."""
    known = {field.name for field in fields}
    for name in body:
        if name in known:
            continue
        nearest = difflib.get_close_matches(name[:100], known, n=1)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else f" Known fields: {', '.join(sorted(known))}."
        raise InvalidRequestError(f"Unknown field '{name[:100]}'.{hint}", param=name[:100], code="unknown_parameter")
