"""The Kubernetes API, as far as the demo and the end-to-end tests need it. Objects are plain dicts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlencode

from aiohttp import ClientError, ClientTimeout
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from fluxpool_demo.errors import DemoError, KubernetesError, UnreachableError, WaitError

Object: TypeAlias = dict[str, Any]
_Request: TypeAlias = tuple[str, str, Any, Any, Any]

FIELD_MANAGER: Final = "fluxpool-demo"
NOT_FOUND: Final = 404
TIMEOUT: Final = ClientTimeout(total=30, sock_connect=5)
WATCH_SECONDS: Final = 300
RETRY_SECONDS: Final = 0.5
PLURALS: Final[Mapping[str, tuple[str, str]]] = {
    "Namespace": ("api/v1", "namespaces"),
    "Node": ("api/v1", "nodes"),
    "Pod": ("api/v1", "pods"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "FluxPool": ("apis/fluxpool.dev/v1alpha1", "fluxpools"),
}
"""Path of group and version, and plural, of each kind."""


class Ref(NamedTuple):
    """Which object. The namespace is None for what belongs to the cluster."""

    kind: str
    namespace: str | None
    name: str

    @property
    def path(self) -> str:
        """Where the API server keeps it."""
        return f"{path_of(self.kind, self.namespace)}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def path_of(kind: str, namespace: str | None) -> str:
    """Path of all objects of a kind in the namespace (None: in all, or the cluster's own)."""
    group_version, plural = PLURALS[kind]
    return f"/{group_version}/namespaces/{namespace}/{plural}" if namespace else f"/{group_version}/{plural}"


@asynccontextmanager
async def connect() -> AsyncIterator["Kube"]:
    """The cluster of the current kubeconfig.

    Raises:
        DemoError: there is none, or it cannot be read.
    """
    configuration = Configuration()
    try:
        await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise DemoError(f"no kubeconfig to use: {error}") from error
    client = ApiClient(configuration)
    try:
        yield Kube(client)
    finally:
        await client.close()  # type: ignore[no-untyped-call]


def current_context() -> str:
    """Name of the context that the kubeconfig selects.

    Raises:
        DemoError: there is no kubeconfig, or it selects none.
    """
    try:
        _, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise DemoError(f"no kubeconfig to use: {error}") from error
    return str(active["name"])


class Kube:
    """Reads, writes, waits and watches. Every refusal is a `KubernetesError`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def apply(self, manifest: Object, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply, taking over fields that others own. Returns the object as it is now."""
        metadata = manifest["metadata"]
        ref = Ref(manifest["kind"], metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": manager, "force": "true"}
        return await self._call("PATCH", ref.path, query, manifest, "application/apply-patch+yaml")

    async def patch(self, ref: Ref, change: Object) -> Object:
        """Merge `change` into an object (None removes a field). Returns it as it is now."""
        return await self._call("PATCH", ref.path, {}, change, "application/merge-patch+json")

    async def get(self, ref: Ref) -> Object | None:
        """The object; None if there is none."""
        try:
            return await self._call("GET", ref.path)
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def list(self, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """All objects of a kind under a label selector."""
        answer = await self._call("GET", path_of(kind, namespace), {"labelSelector": selector} if selector else {})
        return list(answer["items"])

    async def delete(self, ref: Ref, seconds: float = 120) -> None:
        """Delete an object and wait until it is gone; fine if it is not there.

        Raises:
            WaitError: it is still there after `seconds`.
        """
        body = {"propagationPolicy": "Foreground"}
        try:
            await self._call("DELETE", ref.path, {}, body)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
        await self.wait(ref, lambda found: found is None, "gone", seconds)

    async def wait(
        self, ref: Ref, until: Callable[[Object | None], object], what: str, seconds: float
    ) -> Object | None:
        """Look twice a second until `until` holds of the object (None while there is none). Returns it.

        Args:
            ref: which object.
            until: a predicate.
            what: the predicate in words, as in "FluxPool demo/flux is not …".
            seconds: how long to try.

        Raises:
            WaitError: it did not hold in time; says what status the object has.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = await self.get(ref)
            if until(found):
                return found
            if time.monotonic() > deadline:
                raise WaitError(f"{ref} is not {what} after {seconds:g} s: {_state(found)}")
            await asyncio.sleep(0.5)

    async def server_version(self) -> str:
        """Of the API server, for example v1.37.1."""
        return str((await self._call("GET", "/version"))["gitVersion"])

    async def watch(self, kind: str, namespace: str | None) -> AsyncIterator[tuple[str, Object]]:
        """All objects of a kind (None: in all namespaces) as they are, then every change: verb and object, for ever.

        Where a stream ends or the API server is away, it lists anew and goes on; what went away meanwhile is told of.
        """
        known: dict[str, Object] = {}
        path = path_of(kind, namespace)
        while True:
            try:
                listing = await self._call("GET", path)
                before, known = known, {item["metadata"]["uid"]: item for item in listing["items"]}
                for uid in before.keys() - known.keys():
                    yield "DELETED", before[uid]
                for uid, item in list(known.items()):
                    yield "MODIFIED" if uid in before else "ADDED", item
                async for verb, item in self._follow(path, listing["metadata"]["resourceVersion"]):
                    _keep(known, verb, item)
                    yield verb, item
            except UnreachableError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Changes after a version, until the API server ends the stream or has forgotten the version."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        request = await self._request("GET", path, query)
        response = await self._send(request, ClientTimeout(total=WATCH_SECONDS + 30))
        try:
            async for line in response.content:
                event = json.loads(line)
                if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
                    return
                yield event["type"], event["object"]
        except (ClientError, TimeoutError) as error:
            raise UnreachableError(f"the API server ended a watch: {error}") from error
        finally:
            response.close()

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        response = await self._send(await self._request(method, path, query or {}, body, content), TIMEOUT)
        answer: Object = json.loads(await response.read())
        if response.status >= 300:
            action = f"{method} {path}"
            raise KubernetesError(action, response.status, answer.get("reason", ""), answer.get("message", ""))
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content: str = "application/json",
    ) -> _Request:
        serialized: _Request = await self._client.param_serialize(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        return serialized

    async def _send(self, request: _Request, limit: ClientTimeout) -> Any:
        try:
            answer = await self._client.call_api(*request, _request_timeout=limit)
        except (ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"cannot reach the API server: {error!r}") from error
        return answer.response


def _keep(known: dict[str, Object], verb: str, item: Object) -> None:
    uid = item["metadata"]["uid"]
    if verb == "DELETED":
        known.pop(uid, None)
    else:
        known[uid] = item


def _state(found: Object | None) -> str:
    """What an object says of itself, in words where it has conditions."""
    if found is None:
        return "it is not there"
    status = found.get("status") or {}
    said = [
        f"{item['type']} {item['status']}: {item.get('message') or item.get('reason', '')}"
        for item in status.get("conditions") or ()
    ]
    return "; ".join(said) or json.dumps(status)


def condition(found: Object | None, kind: str) -> Object:
    """The condition of that type in an object's status; empty if there is none."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind), {})


def is_true(found: Object | None, kind: str) -> bool:
    """Whether that condition is True, for the object's present generation where the condition names one."""
    item = condition(found, kind)
    generation = (found or {}).get("metadata", {}).get("generation")
    return item.get("status") == "True" and item.get("observedGeneration", generation) == generation
