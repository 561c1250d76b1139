"""Runs kubectl on the cluster under test."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Object = dict[str, Any]
Result = TypeVar("Result")


class KubectlError(Exception):
    """kubectl failed. The message is what it said."""


def kubectl(*arguments: str, given: object = None) -> str:
    """Standard output of one kubectl command; `given` objects are its standard input, for `-f -`.

    Raises:
        KubectlError: it failed.
    """
    items = given if isinstance(given, list) else [given]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) if given is not None else None
    command = ["kubectl", *arguments, *(["--filename=-"] if text else [])]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise KubectlError(done.stderr)
    return done.stdout


def get(*arguments: str) -> Object:
    """What `kubectl get -o json` answers."""
    answer: Object = json.loads(kubectl("get", "--output=json", *arguments))
    return answer


def exists(*arguments: str) -> bool:
    """Whether `kubectl get` finds the object."""
    return kubectl("get", "--ignore-not-found", "--output=name", *arguments) != ""


def create_namespace(name: str, labels: Mapping[str, str] | None = None) -> None:
    """A namespace that has its default ServiceAccount, without which no pod is admitted."""
    metadata = {"name": name, "labels": dict(labels or {})}
    kubectl("create", given={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    wait_for(
        f"the default ServiceAccount of {name}", lambda: exists("serviceaccount", "default", f"--namespace={name}")
    )


def delete_namespace(name: str) -> None:
    """The namespace is gone when this returns."""
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=120s")


def wait_for(what: str, probe: Callable[[], Result], seconds: float = 60) -> Result:
    """The first true answer of `probe`.

    Raises:
        TimeoutError: there was none.
    """
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}; the last answer was {answer!r}")
        time.sleep(0.2)


def pod_of(name: str, template: Mapping[str, Any], namespace: str) -> Object:
    """The pod that a Deployment would make of its template."""
    metadata = {**template["metadata"], "name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def names(objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """`Kind/name` of each."""
    return {f"{o['kind']}/{o['metadata']['name']}" for o in objects}
