"""Requests as they go over the wire, through the real client library."""

from typing import Any

import pytest
from cluster.api_server import running
from kubernetes.aio.client import Configuration

from fluxpool_operator.cluster import Cluster, ObjectVersion, kinds
from fluxpool_operator.errors import (
    ClusterError,
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    NamespaceEndsError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
)

MANIFEST = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "art", "name": "demo"}}
ANSWER = {**MANIFEST, "metadata": {"namespace": "art", "name": "demo", "resourceVersion": "7"}}


def failure(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


NAMESPACE_ENDS = failure(
    403, "Forbidden", "unable to create new content in namespace art because it is being terminated"
)
NAMESPACE_ENDS[1]["details"] = {"causes": [{"reason": "NamespaceTerminating", "message": "it is being terminated"}]}


async def test_server_side_apply_is_one_patch_with_our_name_and_force() -> None:
    async with running((200, ANSWER)) as (api, cluster):
        assert await cluster.apply(MANIFEST) == ANSWER
    asked = api.asked[0]
    assert (asked.method, asked.path) == ("PATCH", "/apis/apps/v1/namespaces/art/deployments/demo")
    assert asked.query == {"fieldManager": "fluxpool-operator", "force": "true"}
    assert asked.content == "application/apply-patch+yaml"
    assert asked.authorization == "Bearer secret"
    assert asked.body == MANIFEST
    assert api.counted == [("Deployment", "apply", "ok")]


async def test_a_status_patch_carries_the_version_it_was_computed_from() -> None:
    async with running((200, ANSWER)) as (api, cluster):
        await cluster.patch_status("art", "demo", "41", {"replicas": 2, "recommended": None})
    asked = api.asked[0]
    assert asked.path == "/apis/fluxpool.dev/v1alpha1/namespaces/art/fluxpools/demo/status"
    assert asked.content == "application/merge-patch+json"
    assert asked.body == {"metadata": {"resourceVersion": "41"}, "status": {"replicas": 2, "recommended": None}}
    assert api.counted == [("FluxPool", "patch_status", "ok")]


async def test_a_deletion_is_of_one_uid_only() -> None:
    async with running((200, {"kind": "Status"})) as (api, cluster):
        await cluster.delete(kinds.SERVICE_MONITOR, "art", "demo", "the-uid")
    asked = api.asked[0]
    assert asked.path == "/apis/monitoring.coreos.com/v1/namespaces/art/servicemonitors/demo"
    assert asked.body["preconditions"] == {"uid": "the-uid"}


async def test_core_objects_live_under_another_root() -> None:
    async with running((200, ANSWER)) as (api, cluster):
        await cluster.read(kinds.SECRET, "art", "demo-admin")
    assert api.asked[0].path == "/api/v1/namespaces/art/secrets/demo-admin"
    assert api.counted == [], "a read is no write"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failure(400, "BadRequest", "bad"), InvalidError),
        (failure(401, "Unauthorized", "who are you"), UnauthorizedError),
        (failure(403, "Forbidden", 'cannot patch resource "deployments"'), ForbiddenError),
        (NAMESPACE_ENDS, NamespaceEndsError),
        (failure(404, "NotFound", "no such thing"), NotFoundError),
        (failure(409, "Conflict", "has been modified"), ConflictError),
        (failure(409, "AlreadyExists", "exists"), ExistsError),
        (failure(422, "Invalid", "spec.replicas: must be positive"), InvalidError),
        (failure(429, "TooManyRequests", "slow down"), ThrottledError),
        (failure(500, "InternalError", "etcd"), UnavailableError),
        (failure(503, "ServiceUnavailable", "not yet"), UnavailableError),
        ((502, "<html>bad gateway</html>"), UnavailableError),
        ((503, ""), UnavailableError),
        ((200, "not JSON"), UnavailableError),
    ],
    ids=lambda case: str(case[0]) if isinstance(case, tuple) else case.__name__,
)
async def test_every_answer_that_is_no_success_is_a_typed_error(
    answer: tuple[int, Any], expected: type[ClusterError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(answer, answer) as (api, cluster):
        monkeypatch.setattr("fluxpool_operator.cluster.client.connect", _same_again(cluster))
        with pytest.raises(expected) as caught:
            await cluster.apply(MANIFEST)
    assert type(caught.value) is expected
    assert str(caught.value).startswith("apply Deployment art/demo: ")
    if isinstance(answer[1], dict):
        assert caught.value.detail == answer[1]["message"]
    assert api.counted == [("Deployment", "apply", expected.__name__.removesuffix("Error").lower())]


async def test_the_wait_that_the_server_asks_for_is_kept() -> None:
    async with running(failure(429, "TooManyRequests", "slow down")) as (api, cluster):
        api.headers["Retry-After"] = "17"
        with pytest.raises(ThrottledError) as caught:
            await cluster.apply(MANIFEST)
    assert caught.value.retry_after_seconds == 17


async def test_no_answer_is_an_error_that_says_where_from() -> None:
    async with running() as (api, _):
        url = api.url
    async with Cluster(Configuration(host=url)) as cluster:
        with pytest.raises(UnavailableError, match=url.rpartition(":")[2]):
            await cluster.apply(MANIFEST)


async def test_credentials_that_have_expired_are_read_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(failure(401, "Unauthorized", "expired"), (200, ANSWER)) as (api, cluster):

        async def connect() -> Any:
            renewed = type(cluster._api.configuration)(host=api.url)
            renewed.api_key["BearerToken"] = "Bearer renewed"
            return renewed

        monkeypatch.setattr("fluxpool_operator.cluster.client.connect", connect)
        await cluster.apply(MANIFEST)
    assert [asked.authorization for asked in api.asked] == ["Bearer secret", "Bearer renewed"]
    assert api.counted == [("Deployment", "apply", "ok")]


def _same_again(cluster: Cluster) -> Any:
    async def connect() -> Any:
        return cluster._api.configuration

    return connect


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "art", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


async def test_versions_are_listed_in_pages_as_metadata_only() -> None:
    first = {"metadata": {"resourceVersion": "90", "continue": "next"}, "items": [item("a", 5)]}
    second = {"metadata": {"resourceVersion": "90"}, "items": [item("b", 6)]}
    async with running((200, first), (200, second)) as (api, cluster):
        listing = await cluster.list_versions(kinds.POD, None)
    assert listing.resource_version == 90
    assert listing.objects == [ObjectVersion("art", "a", "uid-a", 5, {}), ObjectVersion("art", "b", "uid-b", 6, {})]
    assert [asked.path for asked in api.asked] == ["/api/v1/pods"] * 2
    assert api.asked[0].query["labelSelector"] == "fluxpool.dev/pool"
    assert api.asked[1].query["continue"] == "next"
    assert "PartialObjectMetadataList" in api.asked[0].accept


async def test_fluxpools_are_listed_without_a_selector_and_in_one_namespace_if_asked() -> None:
    async with running((200, {"metadata": {"resourceVersion": "1"}, "items": []})) as (api, cluster):
        await cluster.list_versions(kinds.FLUXPOOL, "art")
    assert api.asked[0].path == "/apis/fluxpool.dev/v1alpha1/namespaces/art/fluxpools"
    assert "labelSelector" not in api.asked[0].query


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"resources": [{"name": "fluxpools"}, {"name": "fluxpools/status"}]}), True),
        ((200, {"resources": [{"name": "others"}]}), False),
        (failure(404, "NotFound", "the server could not find the requested resource"), False),
    ],
)
async def test_whether_a_kind_is_served_is_asked_of_its_group(answer: tuple[int, Any], expected: bool) -> None:
    async with running(answer) as (api, cluster):
        assert await cluster.serves(kinds.FLUXPOOL) is expected
    assert api.asked[0].path == "/apis/fluxpool.dev/v1alpha1"


async def test_a_right_is_reviewed_by_the_api_server_itself() -> None:
    async with running((201, {"status": {"allowed": False}})) as (api, cluster):
        assert not await cluster.allowed("patch", kinds.FLUXPOOL, "art", "status")
    asked = api.asked[0]
    assert asked.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert asked.body["spec"]["resourceAttributes"] == {
        "verb": "patch",
        "group": "fluxpool.dev",
        "resource": "fluxpools",
        "subresource": "status",
        "namespace": "art",
    }
    assert api.counted == [], "a review changes nothing"
