"""From pydantic's JSON schema to the structural schema a CustomResourceDefinition must have.

Kubernetes takes a strict subset: no `$ref`, no `anyOf` to say "or absent", no `title`, and each node has one type. What
pydantic says with those is said here in Kubernetes' way; `x-kubernetes-*` keys come from the types' own annotations.
The API server fills in nested defaults only into objects that are there, so an object whose fields have defaults has
these as its own default (spelled out: rules are checked against it as it stands).
"""

import copy
from typing import Any, Final

from pydantic import BaseModel

from fluxpool_operator.api.base import JsonDict

_KEEP: Final = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
)


class NotStructuralError(TypeError):
    """A type that a CustomResourceDefinition cannot express."""


def structural_schema(model: type[BaseModel]) -> JsonDict:
    """The structural schema of `model`, every reference inlined, keys in a fixed order.

    Raises:
        NotStructuralError: a field has a union, a float or a type without a schema.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), path=model.__name__)


def _convert(raw: JsonDict, definitions: JsonDict, path: str) -> JsonDict:
    node = _resolve(raw, definitions, path)
    schema = {key: node[key] for key in _KEEP if node.get(key) is not None}
    schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if node.get("additionalProperties") is True and "x-kubernetes-preserve-unknown-fields" not in schema:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    kind = node.get("type")
    if kind == "integer":
        schema["format"] = "int32"
    elif kind == "array":
        schema["items"] = _convert(node["items"], definitions, f"{path}[]")
    elif kind == "object":
        schema |= _convert_members(node, definitions, path)
    elif kind not in {"string", "boolean"} and not node.get("x-kubernetes-int-or-string"):
        raise NotStructuralError(f"{path}: {kind or 'no type'} cannot be in a CustomResourceDefinition")
    return schema


def _convert_members(node: JsonDict, definitions: JsonDict, path: str) -> JsonDict:
    members: JsonDict = {}
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        members["additionalProperties"] = _convert(values, definitions, f"{path}{{}}")
    required = node.get("required", ())
    for name, raw in node.get("properties", {}).items():
        schema = _convert(raw, definitions, f"{path}.{name}")
        defaults = _nested_defaults(schema)
        if name not in required and defaults:
            schema["default"] = defaults
        members.setdefault("properties", {})[name] = schema
    return members


def _nested_defaults(schema: JsonDict) -> JsonDict:
    """What an empty object would be filled with; nothing if it would lack something that is required."""
    if schema.get("required"):
        return {}
    fields = schema.get("properties", {})
    return {name: copy.deepcopy(field["default"]) for name, field in fields.items() if "default" in field}


def _resolve(raw: JsonDict, definitions: JsonDict, path: str) -> JsonDict:
    """`raw` without a reference and without "or null"; what stands beside these wins over what they lead to."""
    node = dict(raw)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            target: Any = definitions[node.pop("$ref").removeprefix("#/$defs/")]
        else:
            targets = [option for option in node.pop("anyOf") if option != {"type": "null"}]
            if len(targets) != 1:
                raise NotStructuralError(f"{path}: a union cannot be in a CustomResourceDefinition")
            target = targets[0]
        node = {**target, **node}
    return node
