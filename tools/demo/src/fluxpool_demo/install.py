"""Installs the chart as a user would, by Helm, and takes it away again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from fluxpool_demo import command
from fluxpool_demo.errors import DemoError
from fluxpool_demo.kube import Kube, Ref
from fluxpool_demo.platform import CHART, Platform

RELEASE: Final = "fluxpool"
SYSTEM_NAMESPACE: Final = "fluxpool-system"
PROMETHEUS: Final = f"{RELEASE}-prometheus"
OPERATOR: Final = f"{RELEASE}-operator"
DEFINITION: Final = Ref("CustomResourceDefinition", None, "fluxpools.fluxpool.dev")


async def require_own(kube: Kube, platform: Platform) -> None:
    """See to it that on a cluster which is not the lab's all that `install` makes and `uninstall` removes is ours.

    Raises:
        DemoError: somebody has installed fluxpool there; it would be taken over, and removed with all FluxPools.
    """
    if not platform.is_lab and await kube.get(DEFINITION) is not None:
        raise DemoError(
            f"fluxpool is installed on the cluster of context {platform.name} already, and would be taken over: use "
            f"another cluster, or remove it first (helm uninstall, then kubectl delete crd {DEFINITION.name})"
        )


async def install(kube: Kube, platform: Platform, changes: Mapping[str, Any] | None = None) -> None:
    """Install the chart, or upgrade what is there, and wait until it is ready.

    Args:
        kube: the cluster.
        platform: its values are used.
        changes: values on top of those.

    Raises:
        CommandError: Helm says why.
    """
    await platform.make_namespace(kube, SYSTEM_NAMESPACE)
    await helm_upgrade(CHART, merged(platform.helm_values, changes or {}))


async def helm_upgrade(chart: Path, values: Mapping[str, Any]) -> None:
    """`helm upgrade --install`, with values on its standard input."""
    await command.run(
        *("helm", "upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM_NAMESPACE),
        *("--values", "-", "--wait", "--timeout", "3m"),
        text=json.dumps(values),
    )


async def uninstall(kube: Kube) -> None:
    """Take away the release, its namespace and the definition of FluxPools (which the chart leaves)."""
    await helm_uninstall()
    await kube.delete(Ref("Namespace", None, SYSTEM_NAMESPACE))
    await kube.delete(DEFINITION)


async def helm_uninstall() -> None:
    """Take away the release, if there is one. FluxPools stay, and so does what they have."""
    await command.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait")


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Helm's way: maps are merged, anything else is replaced."""
    result = dict(values)
    for key, change in changes.items():
        old = result.get(key)
        maps = isinstance(old, Mapping) and isinstance(change, Mapping)
        result[key] = merged(dict(old or {}), change) if maps else change
    return result
