"""The Kubernetes API, as far as the demo and the end-to-end tests need it. Objects are plain dicts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from aiohttp import ClientError, ClientTimeout
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from fluxpool_demo.errors import DemoError, KubernetesError, UnreachableError, WaitError

Object: TypeAlias = dict[str, Any]

FIELD_MANAGER: Final = "fluxpool-demo"
NOT_FOUND: Final = 404
TIMEOUT: Final = ClientTimeout(total=30, sock_connect=5)
WATCH_SECONDS: Final = 300
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


def path_of(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Path of an object, or without `name` of all of its kind in the namespace (None: in all, or a cluster's own)."""
    group_version, plural = PLURALS[kind]
    middle = f"namespaces/{namespace}/" if namespace else ""
    return f"/{group_version}/{middle}{plural}" + (f"/{name}" if name else "")


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
        kind, metadata = manifest["kind"], manifest["metadata"]
        query = {"fieldManager": manager, "force": "true"}
        path = path_of(kind, metadata.get("namespace"), metadata["name"])
        return await self._call("PATCH", path, query, manifest, "application/apply-patch+yaml")

    async def patch(self, kind: str, namespace: str | None, name: str, change: Object, subresource: str = "") -> Object:
        """Merge `change` into an object (None removes a field). Returns it as it is now."""
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._call("PATCH", path, {}, change, "application/merge-patch+json")

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object; None if there is none."""
        try:
            return await self._call("GET", path_of(kind, namespace, name))
        except KubernetesError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def list(self, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """All objects of a kind under a label selector."""
        answer = await self._call("GET", path_of(kind, namespace), {"labelSelector": selector} if selector else {})
        return list(answer["items"])

    async def delete(self, kind: str, namespace: str | None, name: str, seconds: float = 120) -> None:
        """Delete an object and wait until it is gone; fine if it is not there.

        Raises:
            WaitError: it is still there after `seconds`.
        """
        body = {"propagationPolicy": "Foreground"}
        try:
            await self._call("DELETE", path_of(kind, namespace, name), {}, body)
        except KubernetesError as error:
            if error.status != NOT_FOUND:
                raise
        await self.wait(kind, namespace, name, lambda found: found is None, "gone", seconds)

    async def wait(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        until: Callable[[Object | None], object],
        what: str,
        seconds: float,
    ) -> Object | None:
        """Look twice a second until `until` holds of the object (None while there is none). Returns it.

        Args:
            kind: of the object.
            namespace: of the object.
            name: of the object.
            until: a predicate.
            what: the predicate in words, as in "FluxPool demo/flux is not …".
            seconds: how long to try.

        Raises:
            WaitError: it did not hold in time; says what status the object has.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = await self.get(kind, namespace, name)
            if until(found):
                return found
            if time.monotonic() > deadline:
                state = "it is not there" if found is None else json.dumps(found.get("status") or {})
                raise WaitError(f"{kind} {namespace}/{name} is not {what} after {seconds:g} s: {state}")
            await asyncio.sleep(0.5)

    async def watch(self, kind: str, namespace: str) -> AsyncIterator[tuple[str, Object]]:
        """All objects of a kind in a namespace as they are, then every change: pairs of verb and object, for ever."""
        while True:
            listing = await self._call("GET", path_of(kind, namespace))
            for item in listing["items"]:
                yield "ADDED", item
            async for verb, item in self._follow(path_of(kind, namespace), listing["metadata"]["resourceVersion"]):
                yield verb, item

    async def _follow(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Changes after a version, until the API server ends the stream or has forgotten the version."""
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        response = await self._send("GET", path, query, timeout=ClientTimeout(total=WATCH_SECONDS + 30))
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
        response = await self._send(method, path, query or {}, body, content)
        answer: Object = json.loads(await response.read())
        if response.status >= 300:
            action = f"{method} {path}"
            raise KubernetesError(action, response.status, answer.get("reason", ""), answer.get("message", ""))
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        content: str = "application/json",
        timeout: ClientTimeout = TIMEOUT,  # noqa: ASYNC109 - the HTTP client's own
    ) -> Any:
        request = await self._client.param_serialize(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._client.call_api(*request, _request_timeout=timeout)
        except (ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"cannot reach the API server: {error or type(error).__name__}") from error
        return answer.response


def condition(found: Object | None, kind: str) -> Object:
    """The condition of that type in an object's status; empty if there is none."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == kind), {})


def is_true(found: Object | None, kind: str) -> bool:
    """Whether that condition is True, for the object's present generation where the condition names one."""
    item = condition(found, kind)
    generation = (found or {}).get("metadata", {}).get("generation")
    return item.get("status") == "True" and item.get("observedGeneration", generation) == generation
