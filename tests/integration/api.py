"""The API server as its administrator sees it: to set the stage, and to look. What users do goes through kubectl."""

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fluxpool_cluster.api import MERGE_PATCH, ApiClient
from fluxpool_cluster.errors import ApiError
from fluxpool_demo.kube import Ref, path_of

Object = dict[str, Any]
Result = TypeVar("Result")

APPLY_PATCH = "application/apply-patch+yaml"
POLL_SECONDS = 0.1


def wait_for(what: str, probe: Callable[[], Result], seconds: float = 30, every: float = POLL_SECONDS) -> Result:
    """The first true answer of `probe`.

    Raises:
        AssertionError: there was none in time.
    """
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}; the last answer was {answer!r}"
        time.sleep(every)


class Api:
    """Reads and writes objects as plain dicts.

    Args:
        kubeconfig: the lab's, for use inside its namespace.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.client = ApiClient.from_kubeconfig(kubeconfig)

    @classmethod
    def current(cls) -> "Api":
        """The one that KUBECONFIG names."""
        return cls(Path(os.environ["KUBECONFIG"]))

    def get(self, ref: Ref) -> Object | None:
        """The object; None if there is none."""
        try:
            return dict(self.client.get(ref.path))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None, selector: str = "") -> list[Object]:
        """All objects of a kind under a label selector."""
        return list(
            self.client.get(path_of(kind, namespace) + (f"?labelSelector={selector}" if selector else ""))["items"]
        )

    def create(self, manifest: Object) -> Object:
        """Create an object."""
        return dict(self.client.create(path_of(manifest["kind"], manifest["metadata"].get("namespace")), manifest))

    def patch(self, ref: Ref, change: Object) -> Object:
        """Merge a change into an object."""
        return dict(self.client.patch(ref.path, change, MERGE_PATCH))

    def apply(self, manifest: Object) -> Object:
        """Server-side apply, taking over fields that others own."""
        ref = Ref(manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])
        return dict(self.client.patch(f"{ref.path}?fieldManager=integration&force=true", manifest, APPLY_PATCH))

    def delete(self, ref: Ref) -> None:
        """Ask for an object's deletion."""
        self.client.delete(ref.path)

    def make_namespace(self, name: str) -> str:
        """A namespace that can hold pods. Returns its name."""
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_for(f"the default ServiceAccount of {name}", lambda: self._exists(account))
        return name

    def drop_namespace(self, name: str) -> None:
        """Ask for the deletion of a namespace."""
        self.delete(Ref("Namespace", None, name))

    def _exists(self, path: str) -> bool:
        try:
            self.client.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True


class Namespaces:
    """The namespaces of a session. They end in the background; only the end of the session waits for that."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._names: list[str] = []

    def make(self, name: str = "") -> str:
        """Make one, of a new name if none is given. Returns the name."""
        self._names.append(name or f"integration-{uuid.uuid4().hex[:8]}")
        return self._api.make_namespace(self._names[-1])

    def drop(self, name: str) -> None:
        """It is no longer needed."""
        self._api.drop_namespace(name)

    def end(self, *names: str) -> None:
        """Drop these, or all if none is named, and wait until none of them is left."""
        refs = [Ref("Namespace", None, name) for name in names or self._names]
        for ref in refs:
            self._api.delete(ref)
        wait_for("the end of namespaces", lambda: not any(self._api.get(ref) for ref in refs), 180)


def service_account_kubeconfig(admin: Path, token: str, target: Path) -> Path:
    """A kubeconfig with somebody's token in place of the administrator's."""
    config = json.loads(admin.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    target.write_text(json.dumps(config), encoding="utf-8")
    return target
