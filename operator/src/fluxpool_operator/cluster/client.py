"""Requests to the API server: each has a timeout, is counted where it writes, and ends in an object or a typed error.

Children are written by server-side apply with one field manager and force: what we state is ours, what we leave out
belongs to others, and a field we no longer state goes away. The status of a FluxPool is written by a merge patch that
carries the resourceVersion it was computed from: if the object has moved on, the API server answers 409 instead of
letting an outdated view (of this process, or of another operator that is just being replaced) overwrite a newer one.
Server-side apply has no such guard unless one is added, and its gain, shared ownership, is none where there is one
writer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from fluxpool_operator import contract
from fluxpool_operator.cluster.answers import read_answer
from fluxpool_operator.cluster.connection import Credentials, connect, credentials_of
from fluxpool_operator.cluster.kinds import ACCESS_REVIEW, EVENT, FLUXPOOL, Kind, kind_of
from fluxpool_operator.errors import ClusterError, NotFoundError, UnauthorizedError, UnavailableError

FIELD_MANAGER = contract.MANAGED_BY
TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
SERVER_SIDE_APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PAGE = 100
_OWNED = {"fieldManager": FIELD_MANAGER}

Object = dict[str, Any]
"""One Kubernetes object, as JSON has it."""
WriteObserver = Callable[[str, str, str], None]
"""Called after every write with kind, verb and result: `ok` or the name of the error in snake case."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """Which object, and which state of it."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of one kind at one moment, which is `resource_version`."""

    resource_version: int
    objects: Sequence[ObjectVersion]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `action` says in words what it is for."""

    method: str
    path: str
    action: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content: str = "application/json"
    accept: str = "application/json"


class Cluster:
    """The API server of one cluster. Use as an async context manager."""

    def __init__(self, configuration: Configuration, on_write: WriteObserver = lambda *_: None) -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER
        self._on_write = on_write

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()  # type: ignore[no-untyped-call]

    async def credentials(self) -> Credentials:
        """What another client needs to log in as we do."""
        return await credentials_of(self._api.configuration)

    # ---- writes -----------------------------------------------------------------------------------------------------

    async def apply(self, manifest: Object) -> Object:
        """Create the object, or make it as `manifest` states. Returns it as it is now."""
        kind, path, action = _address(manifest, "apply")
        query = {**_OWNED, "force": "true"}
        return await self._write(kind, "apply", Request("PATCH", path, action, query, manifest, SERVER_SIDE_APPLY))

    async def create(self, manifest: Object) -> Object:
        """Create the object. Returns it as it is now.

        Raises:
            ExistsError: it is there already.
        """
        kind, _, action = _address(manifest, "create")
        path = kind.path(manifest["metadata"]["namespace"])
        return await self._write(kind, "create", Request("POST", path, action, _OWNED, manifest))

    async def patch_status(self, namespace: str, name: str, resource_version: str, status: Object) -> Object:
        """Merge `status` into that of a FluxPool (None removes a field), if it is still at `resource_version`.

        Returns the FluxPool as it is now.

        Raises:
            ConflictError: the FluxPool has changed since.
        """
        path = FLUXPOOL.path(namespace, name, "status")
        action = f"patch the status of FluxPool {namespace}/{name}"
        body = {"metadata": {"resourceVersion": resource_version}, "status": status}
        return await self._write(FLUXPOOL, "patch_status", Request("PATCH", path, action, _OWNED, body, MERGE_PATCH))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete exactly that object, its dependents in the background.

        Raises:
            ConflictError: another object of that name has taken its place.
        """
        action = f"delete {kind.name} {namespace}/{name}"
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._write(kind, "delete", Request("DELETE", kind.path(namespace, name), action, body=body))

    async def create_event(self, event: Object) -> None:
        """Create an `events.k8s.io/v1` Event."""
        namespace = event["metadata"]["namespace"]
        request = Request("POST", EVENT.path(namespace), f"create an Event in {namespace}", _OWNED, event)
        await self._write(EVENT, "create", request)

    async def patch_event(self, namespace: str, name: str, change: Object) -> None:
        """Merge `change` into an Event."""
        path, action = EVENT.path(namespace, name), f"patch Event {namespace}/{name}"
        await self._write(EVENT, "patch", Request("PATCH", path, action, _OWNED, change, MERGE_PATCH))

    # ---- reads ------------------------------------------------------------------------------------------------------

    async def read(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object, as the API server has it now.

        Raises:
            NotFoundError: it is not there.
        """
        return await self._request(Request("GET", kind.path(namespace, name), f"read {kind.name} {namespace}/{name}"))

    async def list_versions(self, kind: Kind, namespace: str | None) -> Listing:
        """Which objects of `kind` there are (only those under its selector), metadata only, in pages.

        Args:
            kind: what to list.
            namespace: where; None is everywhere.
        """
        action = f"list {kind.resource}" + (f" in {namespace}" if namespace else "")
        query = {"limit": str(PAGE)} | ({"labelSelector": kind.selector} if kind.selector else {})
        found: list[ObjectVersion] = []
        while True:
            page = await self._request(Request("GET", kind.path(namespace), action, query, accept=METADATA_ONLY))
            found += [_version_of(item) for item in page.get("items") or ()]
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return Listing(int(page["metadata"]["resourceVersion"]), found)

    async def serves(self, kind: Kind) -> bool:
        """True if the API server knows `kind`."""
        try:
            answer = await self._request(Request("GET", kind.root, f"read the resources of {kind.api_version}"))
        except NotFoundError:
            return False
        return kind.plural in {resource["name"] for resource in answer["resources"]}

    async def allowed(self, verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> bool:
        """Whether the operator may do `verb` on `kind` in `namespace` (None: in all)."""
        attributes = {
            "verb": verb,
            "group": kind.group,
            "resource": kind.plural,
            "subresource": subresource,
            "namespace": namespace or "",
        }
        body = {
            "apiVersion": ACCESS_REVIEW.api_version,
            "kind": ACCESS_REVIEW.name,
            "spec": {"resourceAttributes": attributes},
        }
        path = ACCESS_REVIEW.path(None)
        answer = await self._request(Request("POST", path, "review the operator's own rights", body=body))
        return bool(answer["status"]["allowed"])

    # ---- one request ------------------------------------------------------------------------------------------------

    async def _write(self, kind: Kind, verb: str, request: Request) -> Object:
        try:
            answer = await self._request(request)
        except ClusterError as error:
            self._on_write(kind.name, verb, result_of(type(error)))
            raise
        self._on_write(kind.name, verb, "ok")
        return answer

    async def _request(self, request: Request) -> Object:
        try:
            return await self._send(request)
        except UnauthorizedError:
            # The token of an exec plugin or of a kubeconfig that has changed: log in again, once.
            self._api.configuration.api_key = (await connect()).api_key
            return await self._send(request)

    async def _send(self, request: Request) -> Object:
        serialized = await self._api.param_serialize(
            request.method,
            f"{request.path}?{urlencode(request.query)}" if request.query else request.path,
            header_params={"Accept": request.accept, "Content-Type": request.content},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await self._api.call_api(*serialized, _request_timeout=TIMEOUT)
            body = await response.read()  # type: ignore[no-untyped-call]
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(request.action, str(error) or type(error).__name__) from error
        return read_answer(request.action, response.status, response.headers, body)


def result_of(error: type[ClusterError]) -> str:
    """`conflict` of ConflictError, and so on: the metric's label."""
    return error.__name__.removesuffix("Error").lower()


def _address(manifest: Object, verb: str) -> tuple[Kind, str, str]:
    kind = kind_of(manifest["apiVersion"], manifest["kind"])
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    return kind, kind.path(namespace, name), f"{verb} {kind.name} {namespace}/{name}"


def _version_of(item: Mapping[str, Any]) -> ObjectVersion:
    metadata = item["metadata"]
    return ObjectVersion(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        labels=metadata.get("labels") or {},
    )
