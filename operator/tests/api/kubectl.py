"""The real API server, through kubectl, as users reach it. Works on the lab's cluster, or on one that is named."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
LAB_CONTEXT = "fluxpool-lab"


class RefusedError(AssertionError):
    """The API server (or kubectl) said no; the text is what the user reads."""


def kubectl(*arguments: str, given: Mapping[str, Any] | None = None) -> str:
    """Run kubectl, `given` as its standard input. Returns what it prints."""
    done = subprocess.run(
        ["kubectl", *arguments],
        input=json.dumps(given) if given is not None else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise RefusedError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def require_permission() -> None:
    """Fail unless the cluster is the lab's, or the one that CLUSTER_CONTEXT names."""
    context = kubectl("config", "current-context").strip()
    assert context in {LAB_CONTEXT, os.environ.get("CLUSTER_CONTEXT")}, (
        f"these tests change the cluster of the context {context!r}: set CLUSTER_CONTEXT={context} to allow it"
    )


def eventually(attempt: Callable[[], Any], seconds: float = 30) -> Any:
    """The first result of `attempt` that is true; its last error if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            result = attempt()
        except RefusedError:
            if time.monotonic() > deadline:
                raise
            result = None
        if result or time.monotonic() > deadline:
            return result
        time.sleep(0.2)


@dataclass(frozen=True)
class Namespace:
    """One namespace of the cluster."""

    name: str

    def _put(self, manifest: Mapping[str, Any]) -> Object:
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": self.name}}

    def apply(self, manifest: Mapping[str, Any], *flags: str) -> Object:
        """Client-side apply, or server-side with those flags. Returns the object as stored."""
        printed = kubectl("apply", "-n", self.name, "-f", "-", "-o", "json", *flags, given=self._put(manifest))
        return dict(json.loads(printed))

    def apply_as_operator(self, manifest: Mapping[str, Any]) -> Object:
        """As the operator writes children."""
        return self.apply(manifest, "--server-side", "--force-conflicts", "--field-manager=fluxpool-operator")

    def try_out(self, manifest: Mapping[str, Any]) -> Object:
        """Server-side dry run."""
        return self.apply(manifest, "--dry-run=server")

    def patch(self, kind: str, name: str, change: Mapping[str, Any], *flags: str) -> Object:
        """Merge patch, as from somebody else."""
        printed = kubectl(
            "patch", kind, name, "-n", self.name, "--type=merge", "-p", json.dumps(change), "-o", "json", *flags
        )
        return dict(json.loads(printed))

    def get(self, kind: str, name: str) -> Object:
        """The object with its managed fields."""
        return dict(json.loads(kubectl("get", kind, name, "-n", self.name, "-o", "json", "--show-managed-fields")))

    def scale(self, name: str, replicas: int) -> None:
        """`kubectl scale` of a pool."""
        kubectl("scale", "fluxpool", name, "-n", self.name, f"--replicas={replicas}")
