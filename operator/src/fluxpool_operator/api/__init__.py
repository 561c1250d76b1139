"""The FluxPool API: pydantic types as the one source, and the CustomResourceDefinition generated from them.

base      names on the wire, rules (CEL and Python side by side), scalar types
scaling   replicas and batch size: mode, bounds, targets, behavior
serving   model, request bounds, GPUs, rollout
template  what the user adds to the pods
status    what the operator reports
fluxpool  the object itself, and how it is read
schema    pydantic -> structural schema
crd       the manifest: render, write, check
"""

from fluxpool_operator.api.fluxpool import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    FluxPool,
    Metadata,
    Spec,
    UnreadableFluxPool,
    read,
)
from fluxpool_operator.api.scaling import (
    Batching,
    Behavior,
    Mode,
    PolicyType,
    Scaling,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    Targets,
)
from fluxpool_operator.api.serving import Gpu, Limits, Model, Rollout, Serving
from fluxpool_operator.api.status import (
    MESSAGE_LENGTH,
    ColdStart,
    Condition,
    ConditionStatus,
    Numbers,
    Status,
    TemplateInUse,
)
from fluxpool_operator.api.template import PodTemplate

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "MESSAGE_LENGTH",
    "PLURAL",
    "VERSION",
    "Batching",
    "Behavior",
    "ColdStart",
    "Condition",
    "ConditionStatus",
    "FluxPool",
    "Gpu",
    "Limits",
    "Metadata",
    "Mode",
    "Model",
    "Numbers",
    "PodTemplate",
    "PolicyType",
    "Rollout",
    "Scaling",
    "ScalingPolicy",
    "ScalingRules",
    "SelectPolicy",
    "Serving",
    "Spec",
    "Status",
    "Targets",
    "TemplateInUse",
    "UnreadableFluxPool",
    "read",
]
