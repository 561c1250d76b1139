"""The kinds the operator reads or writes, and where the API server keeps them."""

from dataclasses import dataclass

from fluxpool_operator import contract


@dataclass(frozen=True, slots=True)
class Kind:
    """One namespaced kind.

    Attributes:
        api_version: group and version as in a manifest (`v1` for the core group).
        name: as in a manifest's `kind`.
        plural: as in the path.
        selector: labels that narrow list and watch on the server; empty: all objects.
    """

    api_version: str
    name: str
    plural: str
    selector: str = contract.LABEL_POOL

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def resource(self) -> str:
        """`plural.group`, as RBAC messages and kubectl have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """Path of the group and version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Path of an object, of its subresource, or without `name` of all in the namespace (None: in all)."""
        parts = [self.root]
        if namespace is not None:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *filter(None, (name, subresource))])


FLUXPOOL = Kind("fluxpool.dev/v1alpha1", "FluxPool", "fluxpools", selector="")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
POD = Kind("v1", "Pod", "pods")
SERVICE = Kind("v1", "Service", "services")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE_MONITOR = Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
CHILDREN = (SECRET, SERVICE, POD_DISRUPTION_BUDGET, DEPLOYMENT)
"""The kinds every pool has one child of."""

EVENT = Kind("events.k8s.io/v1", "Event", "events", selector="")
ACCESS_REVIEW = Kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", selector="")

_BY_NAME = {
    (kind.api_version, kind.name): kind
    for kind in (FLUXPOOL, DEPLOYMENT, POD, SERVICE, POD_DISRUPTION_BUDGET, SECRET, SERVICE_MONITOR)
}


def kind_of(api_version: str, name: str) -> Kind:
    """The kind of a manifest.

    Raises:
        KeyError: the operator has no business with that kind.
    """
    return _BY_NAME[api_version, name]
