from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from fluxpool_operator.api import crd
from fluxpool_operator.api.schema import NotStructuralError, structural_schema

ROOT = Path(__file__).parents[3]
DEFINITION = crd.definition()
VERSION = DEFINITION["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
Node = dict[str, Any]


def nodes(schema: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every node of a schema with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


OURS = [(path, node) for path, node in nodes(SCHEMA) if path.startswith((".spec", ".status"))]


def test_the_committed_files_are_what_the_types_say() -> None:
    assert crd.check(ROOT) == []


def test_the_schema_is_structural() -> None:
    for path, node in OURS:
        assert not node.keys() & {"$ref", "anyOf", "allOf", "oneOf", "not", "title", "nullable"}, path
        assert ("type" in node) != bool(node.get("x-kubernetes-int-or-string")), path


def test_there_is_no_float_and_no_phase() -> None:
    assert {node["type"] for _, node in OURS if "type" in node} == {"object", "array", "string", "integer", "boolean"}
    assert not [path for path, _ in OURS if path.endswith(".phase")]


def test_every_field_has_a_description() -> None:
    undescribed = [p for p, node in OURS if not p.endswith(("[]", "{}")) and len(node.get("description", "")) < 12]
    assert undescribed == []


def test_every_string_list_map_and_number_is_bounded() -> None:
    bounds: dict[str, Callable[[Node], bool]] = {
        "string": lambda node: "enum" in node or "maxLength" in node or node.get("format") == "date-time",
        "array": lambda node: "maxItems" in node,
        "integer": lambda node: "minimum" in node and "maximum" in node,
        "object": lambda node: "maxProperties" in node or "additionalProperties" not in node,
    }
    assert [path for path, node in OURS if node.get("type") in bounds and not bounds[node["type"]](node)] == []


def test_every_list_says_how_it_is_merged() -> None:
    assert [path for path, node in OURS if node.get("type") == "array" and "x-kubernetes-list-type" not in node] == []


def test_keys_of_merged_lists_are_required_so_that_no_item_lacks_its_name() -> None:
    for path, node in OURS:
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


def test_nothing_that_the_autoscaler_learns_has_a_default_in_users_objects() -> None:
    defaults = {path: node["default"] for path, node in OURS if "default" in node and node.get("type") != "object"}
    assert defaults == {
        ".spec.model.precision": "bfloat16",
        ".spec.serving.drainSeconds": 300,
        ".spec.serving.maxQueueSeconds": 30,
        ".spec.serving.maxWaiting": 1000,
        ".spec.serving.defaultSize": "1024x1024",
        ".spec.serving.imageFormats": ["png", "jpeg", "webp"],
        ".spec.serving.limits.maxSteps": 50,
        ".spec.serving.limits.maxImages": 4,
        ".spec.serving.limits.minSide": 256,
        ".spec.serving.limits.maxPixels": 2097152,
        ".spec.scaling.mode": "Auto",
        ".spec.batching.mode": "Auto",
        ".spec.gpu.resourceName": "nvidia.com/gpu",
        ".spec.gpu.count": 1,
        ".spec.rollout.maxSurge": 1,
        ".spec.rollout.maxUnavailable": 0,
        ".spec.rollout.onUpgrade": False,
    }


def test_an_object_is_made_by_default_only_where_its_fields_have_defaults_which_are_spelled_out() -> None:
    limits = {"maxSteps": 50, "maxImages": 4, "minSide": 256, "maxPixels": 2097152}
    made = {path: node["default"] for path, node in OURS if node.get("type") == "object" and "default" in node}
    assert made.pop(".spec.serving")["limits"] == limits
    assert made == {
        ".spec.serving.limits": limits,
        ".spec.scaling": {"mode": "Auto"},
        ".spec.batching": {"mode": "Auto"},
        ".spec.gpu": {"resourceName": "nvidia.com/gpu", "count": 1},
        ".spec.rollout": {"maxSurge": 1, "maxUnavailable": 0, "onUpgrade": False},
    }


def test_kubectl_scale_and_get_find_what_they_show() -> None:
    assert VERSION["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"]]
    assert columns == ["Ready", "Model", "Replicas", "Desired", "Batch", "Age"]
    assert DEFINITION["spec"]["names"]["shortNames"] == ["fp"]


def test_rules_that_tolerate_leftovers_see_the_old_object_if_there_was_one() -> None:
    rules = [rule for _, node in nodes(SCHEMA) for rule in node.get("x-kubernetes-validations", ())]
    assert [rule["optionalOldSelf"] for rule in rules if "oldSelf" in rule["rule"]] == [True, True]


def test_rendering_is_deterministic_and_round_trips() -> None:
    assert crd.render() == crd.render()
    assert yaml.safe_load(crd.render()) == DEFINITION


def test_the_charts_copy_is_guarded_and_kept() -> None:
    text = crd.render_for_chart()
    first, *body, last = text.splitlines()[1:]
    assert (first, last) == ("{{- if .Values.crds.enabled }}", "{{- end }}")
    copy = yaml.safe_load("\n".join(body))
    assert copy["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert copy == DEFINITION


def test_check_names_each_file_that_is_missing_or_differs_and_write_puts_both_right(tmp_path: Path) -> None:
    assert len(crd.check(tmp_path)) == 2
    assert crd.write(tmp_path) == [crd.MANIFEST, crd.CHART_COPY]
    assert crd.check(tmp_path) == []
    assert crd.write(tmp_path) == []
    (tmp_path / crd.MANIFEST).write_text("something else")
    assert crd.check(tmp_path) == [f"{crd.MANIFEST} differs from the types: run `fluxpool-operator crd --write`"]


class WithUnion(BaseModel):
    a: int | str


class WithFloat(BaseModel):
    a: float


@pytest.mark.parametrize("model", [WithUnion, WithFloat])
def test_a_type_that_a_crd_cannot_express_is_refused_by_name(model: type[BaseModel]) -> None:
    with pytest.raises(NotStructuralError, match=rf"{model.__name__}\.a"):
        structural_schema(model)
