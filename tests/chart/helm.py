"""Runs helm on the chart: rendered objects, refusals, releases."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).parents[2]
CHART = TOP / "charts" / "fluxpool"
RELEASE = "fluxpool"
NAMESPACE = "fluxpool-system"

Object = dict[str, Any]
Values = Mapping[str, Any]

INSTALL_PROMETHEUS: Values = {"prometheus": {"install": True}}
OWN_PROMETHEUS: Values = {"prometheus": {"url": "https://prometheus.example:9090/p"}}


class HelmError(Exception):
    """Helm refused. The message is what it said."""


def helm(*arguments: str, values: Values | None = None) -> str:
    """Standard output of one helm command.

    Raises:
        HelmError: it failed.
    """
    program = shutil.which("helm")
    assert program, "helm is not on the PATH: run this inside `tools/cluster/run`, or install Helm"
    command = [program, *arguments, *(["--values=-"] if values is not None else [])]
    text = json.dumps(values) if values is not None else None
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise HelmError(done.stderr)
    return done.stdout


def manifest(values: Values, *, chart: Path = CHART, release: str = RELEASE) -> str:
    """The rendered chart, as text with its comments."""
    return helm("template", release, str(chart), f"--namespace={NAMESPACE}", values=values)


def render(values: Values, *, chart: Path = CHART, release: str = RELEASE) -> list[Object]:
    """The rendered objects."""
    documents = yaml.safe_load_all(manifest(values, chart=chart, release=release))
    return [document for document in documents if document]


def merged(*layers: Values) -> Object:
    """Values with the later ones on top of the earlier, as several `--values` are."""
    result: Object = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result


def of_kind(objects: list[Object], kind: str, component: str = "") -> list[Object]:
    """The objects of a kind, of all components or of one."""
    label = "app.kubernetes.io/component"
    return [o for o in objects if o["kind"] == kind and component in {"", o["metadata"].get("labels", {}).get(label)}]


def only(objects: list[Object], kind: str, component: str = "") -> Object:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind, component)
    return found


def container(workload: Object) -> Object:
    """The one container of a Deployment."""
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(workload: Object) -> dict[str, str]:
    """The variables of its container that have a plain value."""
    return {variable["name"]: variable["value"] for variable in container(workload)["env"]}


def granted(role: Object) -> set[tuple[str, str, str]]:
    """The rights that a role's rules grant: API group, resource with its subresource, verb."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
