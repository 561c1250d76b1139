from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fluxpool_demo.errors import DemoError
from fluxpool_demo.install import DEFINITION, require_own
from fluxpool_demo.kube import Kube, Ref
from fluxpool_demo.platform import LAB, Platform


@dataclass
class Cluster:
    """What the API server would say."""

    objects: dict[Ref, dict[str, Any]] = field(default_factory=dict)

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        return self.objects.get(ref)


EMPTY, IN_USE = Cluster(), Cluster({DEFINITION: {"kind": "CustomResourceDefinition"}})


def platform(name: str) -> Platform:
    return Platform(name=name, in_cluster_network=False, helm_values={}, model="/models/tiny")


async def test_somebodys_own_fluxpool_is_not_taken_over() -> None:
    with pytest.raises(DemoError, match="on the cluster of context production already, and would be taken over"):
        await require_own(cast("Kube", IN_USE), platform("production"))


@pytest.mark.parametrize(("cluster", "name"), [(EMPTY, "production"), (EMPTY, LAB), (IN_USE, LAB)])
async def test_an_empty_cluster_and_the_lab_are_ours(cluster: Cluster, name: str) -> None:
    await require_own(cast("Kube", cluster), platform(name))
