"""What others need to find the cluster: its folders, its kubeconfigs, its names."""

from pathlib import Path

from fluxpool_cluster import build, layout
from fluxpool_cluster.layout import CONTEXT, NAMESPACE, Layout

__all__ = [
    "CONTEXT",
    "NAMESPACE",
    "audit_log",
    "binaries_folder",
    "inside_kubeconfig",
    "kubeconfig",
    "state_folder",
]


def state_folder() -> Path:
    """Folder of the running cluster's state."""
    return layout.state_folder()


def binaries_folder() -> Path:
    """Folder of the programs of this checkout; `build.ensure` makes it.

    Raises:
        PreconditionError: there is no Go, or it is too old (its version is part of the folder's name).
    """
    return build.binaries_folder()


def kubeconfig() -> Path:
    """Administrator's kubeconfig for processes of the host."""
    return Layout(layout.state_folder()).kubeconfig


def inside_kubeconfig() -> Path:
    """Administrator's kubeconfig for processes inside the namespace."""
    return Layout(layout.state_folder()).inside_kubeconfig


def audit_log() -> Path:
    """API requests of everybody but the cluster's own components: one audit.k8s.io/v1 Event as JSON per line."""
    return Layout(layout.state_folder()).audit_log
