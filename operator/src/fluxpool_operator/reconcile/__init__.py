"""The pure heart of the operator: a snapshot of the world in, a plan out."""

from fluxpool_operator.reconcile.conditions import METRICS_AVAILABLE, READY, RECONCILING, SCALING_ACTIVE, STALLED
from fluxpool_operator.reconcile.plan import Apply, Delete, Plan, PlannedEvent
from fluxpool_operator.reconcile.reconciler import reconcile

__all__ = [
    "METRICS_AVAILABLE",
    "READY",
    "RECONCILING",
    "SCALING_ACTIVE",
    "STALLED",
    "Apply",
    "Delete",
    "Plan",
    "PlannedEvent",
    "reconcile",
]
