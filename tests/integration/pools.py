"""A FluxPool as tests see it: what was asked for, what the operator says of it, and what there is."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from chart.helm import merged
from fluxpool_demo.kube import Ref
from integration.api import Api, Object, wait_for
from integration.background import Background, follow

QUEUE_TARGET: Final = 8
"""Requests per replica that the pools of these tests are steered to."""
WINDOW_SECONDS: Final = 2

FAKE_NODES: Final = {
    "nodeSelector": {"type": "kwok"},
    "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
}
NewPool = Callable[[str], "Pool"]
"""Gives the pool of that name, which is still to be created."""

SMALLEST: Final[Mapping[str, Any]] = {
    "model": {"source": "/models/tiny"},
    "scaling": {
        "mode": "Auto",
        # As many as tests ask for: while load moves to a new pod, one scrape may still show it on the old one as well.
        "maxReplicas": 3,
        "targets": {"queueDepthPerReplica": QUEUE_TARGET},
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": WINDOW_SECONDS}},
    },
    "template": FAKE_NODES,
}


class Condition(NamedTuple):
    """Status, reason and message."""

    status: str
    reason: str
    message: str


class Numbers(NamedTuple):
    """The two numbers of `status.desired`."""

    replicas: int | None
    batch_size: int | None


def manifest(namespace: str, name: str, **spec: Any) -> Object:
    """A FluxPool for fake nodes, one to three replicas, Auto unless `spec` says otherwise."""
    return {
        "apiVersion": "fluxpool.dev/v1alpha1",
        "kind": "FluxPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": merged(SMALLEST, spec),
    }


@dataclass(frozen=True)
class Pool:
    """One FluxPool; it need not exist."""

    api: Api
    namespace: str
    name: str

    @property
    def ref(self) -> Ref:
        """Where it is."""
        return Ref("FluxPool", self.namespace, self.name)

    def child(self, kind: str) -> Ref:
        """Where one of its children is."""
        return Ref(kind, self.namespace, f"{self.name}-admin" if kind == "Secret" else self.name)

    def create(self, **spec: Any) -> "Pool":
        """Create it."""
        self.api.create(manifest(self.namespace, self.name, **spec))
        return self

    def change(self, **spec: Any) -> None:
        """Merge a change into its spec."""
        self.api.patch(self.ref, {"spec": spec})

    # ---- what there is ----------------------------------------------------------------------------------------------

    def body(self) -> Object:
        """The FluxPool."""
        found = self.api.get(self.ref)
        assert found is not None, f"{self.ref} is not there"
        return found

    def status(self) -> Object:
        """Its status; empty while there is none."""
        return dict(self.body().get("status") or {})

    def desired(self) -> Numbers:
        """What the operator makes the pods match."""
        return desired_of(self.body())

    def condition(self, kind: str) -> Condition | None:
        """One of its conditions."""
        found = [each for each in self.status().get("conditions", ()) if each["type"] == kind]
        return Condition(*(found[0][key] for key in Condition._fields)) if found else None

    def deployed(self) -> int | None:
        """What its Deployment is set to; None while there is none."""
        deployment = self.api.get(self.child("Deployment"))
        return None if deployment is None else int(deployment["spec"]["replicas"])

    def pods(self) -> list[Object]:
        """Its pods that are not on their way out."""
        found = self.api.list("Pod", self.namespace, f"fluxpool.dev/pool={self.name}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod_names(self) -> set[str]:
        """Their names."""
        return {pod["metadata"]["name"] for pod in self.pods()}

    def events(self) -> list[tuple[str, str]]:
        """Reason and words of each event on it, oldest first."""
        uid = self.body()["metadata"]["uid"]
        events = [event for event in self.api.list("Event", self.namespace) if event["regarding"].get("uid") == uid]
        return [
            (event["reason"], event["note"]) for event in sorted(events, key=lambda event: event["eventTime"] or "")
        ]

    # ---- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, what: str, holds: Callable[["Pool"], object], seconds: float = 30) -> None:
        """Wait until `holds` holds.

        Raises:
            AssertionError: it did not in time; shows the status.
        """
        try:
            wait_for(f"{self.ref} {what}", lambda: holds(self), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {json.dumps(self.status(), indent=1)}") from None

    def wait_for_replicas(self, count: int, seconds: float = 30) -> None:
        """Wait until so many pods are wanted, there, and ready."""
        self.wait(f"to have {count} ready replicas", lambda pool: pool.ready() == count == pool.deployed(), seconds)

    def ready(self) -> int:
        """How many of its pods are ready."""
        return sum(_is_ready(pod) for pod in self.pods())

    def wait_for_metrics(self, status: str = "True", reason: str = "Fresh", seconds: float = 30) -> Condition:
        """Wait until MetricsAvailable is that."""
        self.wait_for_condition("MetricsAvailable", status, reason, seconds)
        found = self.condition("MetricsAvailable")
        assert found is not None
        return found

    def wait_for_condition(self, kind: str, status: str, reason: str, seconds: float = 30) -> None:
        """Wait until a condition has that status and reason."""

        def holds(pool: Pool) -> bool:
            return (pool.condition(kind) or Condition("", "", ""))[:2] == (status, reason)

        self.wait(f"to have {kind}={status}/{reason}", holds, seconds)

    @contextmanager
    def history(self, background: Background) -> Iterator[list[Object]]:
        """Every version of it from now on, the present one first."""
        versions: list[Object] = []

        def note(_verb: str, found: Object) -> None:
            seen = {version["metadata"]["resourceVersion"] for version in versions}
            if found["metadata"]["name"] == self.name and found["metadata"]["resourceVersion"] not in seen:
                versions.append(found)

        with background.task(follow("FluxPool", self.namespace, note)):
            wait_for(f"the first look at {self.ref}", lambda: versions)
            yield versions


def desired_of(version: Object) -> Numbers:
    """`status.desired` of a FluxPool."""
    found = (version.get("status") or {}).get("desired") or {}
    return Numbers(found.get("replicas"), found.get("batchSize"))


def changes_of(versions: list[Object]) -> list[tuple[Numbers, Numbers]]:
    """Each change of `status.desired` between two versions."""
    numbers = [desired_of(version) for version in versions]
    return [(before, after) for before, after in pairwise(numbers) if before != after]


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
