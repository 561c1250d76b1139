from typing import Any

import pytest
from api.pools import ACCEPTED, EVERY_FIELD, REFUSED, body, pool

from fluxpool_operator.api import FluxPool, Mode, UnreadableFluxPool, read


def stored(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "uid": "u", "generation": 3}}


@pytest.mark.parametrize(("manifest", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_object_that_breaks_a_rule_cannot_be_read_and_the_message_says_why(
    manifest: dict[str, Any], message: str
) -> None:
    unreadable = read(stored(manifest))
    assert isinstance(unreadable, UnreadableFluxPool)
    assert message in unreadable.message


@pytest.mark.parametrize("manifest", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_valid_object_is_read(manifest: dict[str, Any]) -> None:
    assert isinstance(read(stored(manifest)), FluxPool)


def test_what_is_read_is_written_out_as_it_was_given_with_fields_of_pods_we_do_not_know() -> None:
    assert pool(**EVERY_FIELD).spec.to_wire() == EVERY_FIELD


def test_unknown_fields_are_ignored() -> None:
    assert pool(later={"a": 1}, model={"source": "/m", "adapters": []}).spec.model.source == "/m"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": {}}, "spec.model.source: Field required"),
        ({"gpu": {"count": 0}}, "spec.gpu.count: Input should be greater than or equal to 1"),
        ({"gpu": {"count": 2}}, "spec.gpu.count: Input should be less than or equal to 1"),
        ({"rollout": {"maxSurge": "lots"}}, 'a percentage such as "25%"'),
        ({"template": {"resources": {"limits": {"cpu": "two"}}}}, "a Kubernetes quantity such as 500m or 16Gi"),
        ({"scaling": "fast"}, "spec.scaling: "),
    ],
)
def test_the_message_names_the_field(spec: dict[str, Any], message: str) -> None:
    unreadable = read(body(**spec))
    assert isinstance(unreadable, UnreadableFluxPool)
    assert message in unreadable.message


def test_a_missing_spec_is_told_like_any_other_error() -> None:
    unreadable = read({"metadata": body()["metadata"]})
    assert isinstance(unreadable, UnreadableFluxPool)
    assert "spec" in unreadable.message


def test_a_secret_in_a_wrong_field_is_not_repeated_in_the_message() -> None:
    unreadable = read(body(template={"env": [{"name": "bad name", "value": "hunter2"}]}))
    assert isinstance(unreadable, UnreadableFluxPool)
    assert "hunter2" not in unreadable.message


def test_a_status_that_cannot_be_read_counts_as_absent() -> None:
    assert pool(status={"replicas": "many"}).status.replicas is None


def test_the_identity_of_an_unreadable_pool_is_kept() -> None:
    unreadable = read(body(generation=7, gpu={"count": 0}, status={"replicas": 2}))
    assert isinstance(unreadable, UnreadableFluxPool)
    assert (unreadable.metadata.generation, unreadable.status.replicas) == (7, 2)


def test_a_leftover_of_mode_manual_is_readable_in_auto() -> None:
    assert pool(replicas=3, batching={"size": 20}).spec.scaling.mode is Mode.AUTO


@pytest.mark.parametrize(("asked", "given"), [(0, 2), (1, 2), (3, 3), (9, 5)])
def test_replicas_are_clamped_to_the_bounds(asked: int, given: int) -> None:
    assert pool(scaling={"minReplicas": 2, "maxReplicas": 5}).spec.scaling.clamp(asked) == given


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (8, 8), (9, 8)])
def test_the_batch_size_is_clamped_to_the_default_bounds(asked: int, given: int) -> None:
    assert pool().spec.batching.clamp(asked) == given
