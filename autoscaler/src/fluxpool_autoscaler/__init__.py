"""The decision function of fluxpool: two numbers from one observation, pure.

    decision, memory = decide(observation, memory, policy, now)

An `Observation` is what was seen of one FluxPool, a `Policy` what its user wants, `Memory` what the last decision left
to this one, and a `Decision` holds the number of replicas and the batch size with every reason for them. The simulator,
the command line and the operator call the same function. No IO, no clock, no dependency.
"""

from fluxpool_autoscaler.census import age_limit_seconds
from fluxpool_autoscaler.cold_start import ColdStart, summarize
from fluxpool_autoscaler.decide import decide
from fluxpool_autoscaler.decision import Coverage, Decision, Limit, Proposal, Validity, Verdict
from fluxpool_autoscaler.memory import Memory
from fluxpool_autoscaler.observation import Observation, PodObservation, PodSample
from fluxpool_autoscaler.policy import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    BatchPolicy,
    Bounds,
    Mode,
    Policy,
    RatePolicy,
    RateType,
    ScalingRules,
    SelectPolicy,
    Targets,
)

__all__ = [
    "DEFAULT_SCALE_DOWN",
    "DEFAULT_SCALE_UP",
    "BatchPolicy",
    "Bounds",
    "ColdStart",
    "Coverage",
    "Decision",
    "Limit",
    "Memory",
    "Mode",
    "Observation",
    "PodObservation",
    "PodSample",
    "Policy",
    "Proposal",
    "RatePolicy",
    "RateType",
    "ScalingRules",
    "SelectPolicy",
    "Targets",
    "Validity",
    "Verdict",
    "age_limit_seconds",
    "decide",
    "summarize",
]
