"""Whether a child must be written again, without comparing values.

Values do not compare: the API server adds defaults, writes `1000m` as `1`, and admission webhooks change images. Two
questions need no values:

1. *Do we want something else than last time?* Each manifest carries a digest of itself as an annotation.
2. *Has somebody taken a field from us?* Server-side apply records in `metadata.managedFields` which fields are ours. A
   field that somebody else changes or removes leaves that record, so each field of the manifest must still be in it.

So an equal object is never written, an edited field of ours is put right, and fields of others are not looked at.
`managedFields` holds sets of paths (structured-merge-diff's FieldsV1): `f:name` is a field, `k:{"name":"a"}` an item of
a list by its key, `v:"a"` an item of a set; a path without further paths below it is owned as a whole.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fluxpool_operator.reconcile.upgrade import digest
from fluxpool_operator.resources import FIELD_MANAGER, Manifest

INTENT: Final = "fluxpool.dev/intent"
"""Annotation of every child: the digest of the manifest it was last written from."""

_IDENTITY: Final = frozenset({"apiVersion", "kind"})
_NAME: Final = frozenset({"name", "namespace"})


def sealed(manifest: Mapping[str, Any]) -> Manifest:
    """The manifest with the digest of itself."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), INTENT: digest(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def difference(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """Why `live` must be written again from the sealed `manifest`, in words; None if it is as it should be."""
    wanted = manifest["metadata"]["annotations"][INTENT]
    if (live["metadata"].get("annotations") or {}).get(INTENT) != wanted:
        return _change(manifest, live)
    owned = _owned_fields(live)
    if not owned:
        return "nothing in it is recorded as ours"
    lost = _first_lost(_stated(manifest), owned, "")
    return f"{lost} was changed by somebody else" if lost else None


def beyond_repair(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> str | None:
    """Why `live` cannot become `manifest` by an apply, in words, so that it must be made anew; None if it can.

    A Service's ports are items by number, and server-side apply does not take away items of others. Where somebody has
    given one of our port names to another number, ours cannot be added: names are unique.
    """
    if manifest["kind"] != "Service":
        return None
    numbers = {port["name"]: port["port"] for port in manifest["spec"]["ports"]}
    for port in live["spec"].get("ports") or ():
        if port["port"] != numbers.get(port.get("name"), port["port"]):
            return f"somebody has given the port name {port['name']} to {port['port']}"
    return None


def _change(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> str:
    before, after = live.get("spec", {}).get("replicas"), manifest.get("spec", {}).get("replicas")
    return f"replicas {before} -> {after}" if before != after else "the pool or the operator asks for another form"


def _stated(manifest: Mapping[str, Any]) -> Manifest:
    """The fields that ownership is recorded for: all but what identifies the object."""
    fields = {key: value for key, value in manifest.items() if key not in _IDENTITY}
    fields["metadata"] = {key: value for key, value in manifest["metadata"].items() if key not in _NAME}
    return fields


def _owned_fields(live: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = live["metadata"].get("managedFields") or ()
    ours = [e for e in entries if e.get("manager") == FIELD_MANAGER and e.get("operation") == "Apply"]
    return ours[0].get("fieldsV1", {}) if ours else {}


def _first_lost(value: Any, owned: Mapping[str, Any], path: str) -> str | None:
    """The first field of `value` that is not in `owned`, as a path."""
    if not any(key != "." for key in owned):
        return None  # owned as a whole: an atomic list or map, or a scalar
    if isinstance(value, Mapping):
        return _first_lost_field(value, owned, path)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _first_lost_item(value, owned, path)
    return None


def _first_lost_field(value: Mapping[str, Any], owned: Mapping[str, Any], path: str) -> str | None:
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if f"f:{name}" not in owned:
            if inner in ({}, []):
                continue  # an empty map or list owns nothing of its own
            return here
        lost = _first_lost(inner, owned[f"f:{name}"], here)
        if lost:
            return lost
    return None


def _first_lost_item(items: Sequence[Any], owned: Mapping[str, Any], path: str) -> str | None:
    keyed = [(json.loads(name[2:]), below) for name, below in owned.items() if name.startswith("k:")]
    for position, item in enumerate(items):
        here = f"{path}[{position}]"
        if not isinstance(item, Mapping):
            if f"v:{json.dumps(item)}" not in owned:
                return here
            continue
        below = next((fields for keys, fields in keyed if _matches(item, keys)), None)
        if below is None:
            return here
        lost = _first_lost(item, below, here)
        if lost:
            return lost
    return None


def _matches(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """Whether the item is the one with those keys; a key it does not state was filled in by a default."""
    return all(item.get(name, value) == value for name, value in keys.items())
