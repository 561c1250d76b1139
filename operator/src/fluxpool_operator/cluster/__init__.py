"""The Kubernetes API, as far as the operator needs it: the only package that imports `kubernetes`.

Objects are plain dicts. Paths come from a table of the few kinds there are, so no discovery is asked and no generated
model is loaded. Every answer that is not a success is one of the `ClusterError`s of `fluxpool_operator.errors`.
"""

from fluxpool_operator.cluster.client import Cluster, Listing, Object, ObjectVersion
from fluxpool_operator.cluster.connection import Credentials, connect
from fluxpool_operator.cluster.kinds import Kind

__all__ = ["Cluster", "Credentials", "Kind", "Listing", "Object", "ObjectVersion", "connect"]
