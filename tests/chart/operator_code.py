"""Asks the operator's own code, in the operator's Python environment, where its libraries are."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from chart.helm import TOP

PYTHON = TOP / "operator" / ".venv" / "bin" / "python"

LOAD_SETTINGS = "from fluxpool_operator.settings import load; print(load({}).model_dump_json())"
MAKE_POD = """
import json, sys
from fluxpool_operator.api import read
from fluxpool_operator.resources import LATEST_REVISION, Basis, pod_template
pool = read(json.load(sys.stdin))
print(json.dumps(pod_template(pool, Basis("fluxpool-inference:0.1.0", "IfNotPresent", LATEST_REVISION))))
"""

NEEDED_RIGHTS = """
import json
from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.preflight import needed_rights
def rights(children):
    return [[right.kind.group, right.kind.plural, right.subresource, right.verb] for right in needed_rights(children)]
print(json.dumps({"without": rights(kinds.CHILDREN), "with": rights([*kinds.CHILDREN, kinds.SERVICE_MONITOR])}))
"""

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""


def load_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The operator's settings, made from an environment, as JSON has them.

    Raises:
        subprocess.CalledProcessError: the operator refuses the environment.
    """
    return _run(LOAD_SETTINGS, environment=environment)


def pod_template(pool: Mapping[str, Any]) -> dict[str, Any]:
    """The pod template that the operator makes of a FluxPool.

    Raises:
        subprocess.CalledProcessError: the operator cannot read the FluxPool.
    """
    return _run(MAKE_POD, given=pool)


def needed_rights(*, service_monitors: bool) -> set[Right]:
    """What the operator asks the API server for at its start, and waits for until it has it."""
    rights = _run(NEEDED_RIGHTS)["with" if service_monitors else "without"]
    return {
        (group, f"{resource}/{subresource}" if subresource else resource, verb)
        for group, resource, subresource, verb in rights
    }


def _run(code: str, environment: Mapping[str, str] | None = None, given: object = None) -> dict[str, Any]:
    done = subprocess.run(
        [PYTHON, "-c", code],
        env=dict(environment or {}),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
