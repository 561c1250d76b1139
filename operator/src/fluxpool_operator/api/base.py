"""What all FluxPool types share: camelCase names on the wire, immutability, bounded scalar types, and rules.

A rule is one sentence about an object that a schema cannot say. It is kept twice side by side: as CEL, which the API
server runs before an object is stored, and as a Python predicate, which the operator runs on what it reads (an object
may have been stored before the rule, or through an older CRD). `tests/api/test_on_real_apiserver.py` holds the two
equal.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

JsonDict: TypeAlias = dict[str, Any]

PERCENT: Final = re.compile(r"^(100|[1-9]?[0-9])%$")
QUANTITY: Final = re.compile(r"^\+?[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")


@dataclass(frozen=True)
class Rule:
    """One `x-kubernetes-validations` entry and its twin in Python."""

    cel: str
    """Over `self`; over `oldSelf` (an optional) as well if the rule tolerates what was there before."""

    message: str
    """What the user reads: what is wrong and what to do."""

    holds: Callable[[Any], bool] | None
    """The same predicate on the parsed object; None for a rule about changes, which a single object cannot show."""

    message_cel: str = ""
    """CEL that makes the message, where it quotes a value; `message` is what is used if that fails."""

    field: str = ""
    """The field to blame, as a path below the object (`.minReplicas`)."""

    def to_schema(self) -> JsonDict:
        """The entry as the API server reads it."""
        entry: JsonDict = {"rule": self.cel, "message": self.message}
        if self.message_cel:
            entry["messageExpression"] = self.message_cel
        if self.field:
            entry["fieldPath"] = self.field
        if "oldSelf" in self.cel:
            entry["optionalOldSelf"] = True
        return entry


def _add_rules(schema: JsonDict, model: type["ApiModel"]) -> None:
    if model.rules:
        schema["x-kubernetes-validations"] = [rule.to_schema() for rule in model.rules]


class ApiModel(BaseModel):
    """A frozen object of the API; unknown fields are ignored, for an operator may be older than its CRD."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", json_schema_extra=_add_rules
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    def to_wire(self) -> dict[str, Any]:
        """The object as it was given: camelCase, only what was set."""
        return self.model_dump(by_alias=True, exclude_unset=True, mode="json")


class PassedThrough(ApiModel):
    """A piece of a pod that goes into the Deployment as it is, fields unknown to us included."""

    model_config = ConfigDict(extra="allow")


def _percent_or_number(value: int | str) -> int | str:
    if isinstance(value, str) and not PERCENT.match(value):
        raise ValueError('must be a number of pods or a percentage such as "25%"')
    return value


def _quantity(value: int | str) -> int | str:
    if not QUANTITY.match(str(value)):
        raise ValueError("must be a Kubernetes quantity such as 500m or 16Gi")
    return value


def list_of_maps(*keys: str) -> JsonDict:
    """Schema extra of a list whose items are merged by these keys, as Kubernetes does for the same list in a pod."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC: Final[JsonDict] = {"x-kubernetes-list-type": "atomic"}
SET: Final[JsonDict] = {"x-kubernetes-list-type": "set"}

IntOrPercent = Annotated[
    int | str,
    AfterValidator(_percent_or_number),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": PERCENT.pattern, "minimum": 0, "maxLength": 4}),
]
Quantity = Annotated[
    int | str,
    AfterValidator(_quantity),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY.pattern, "minimum": 0, "maxLength": 32}),
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=63)]
OpaqueObject = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]
