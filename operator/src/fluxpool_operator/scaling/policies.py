"""From a FluxPool's spec to the autoscaler's policy, with the defaults that are the operator's and not the schema's."""

from fluxpool_autoscaler import (
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
from fluxpool_operator.api import FluxPool
from fluxpool_operator.api import scaling as api
from fluxpool_operator.contract import WAIT_RESERVE


def policy_of(pool: FluxPool) -> Policy:
    """What the pool asks of the autoscaler."""
    scaling, batching = pool.spec.scaling, pool.spec.batching
    targets = scaling.targets
    utilization = targets.gpu_utilization_percent
    return Policy(
        bounds=Bounds(scaling.floor, scaling.max_replicas),
        targets=Targets(
            queue_depth_per_replica=targets.queue_depth_per_replica,
            gpu_utilization_ratio=None if utilization is None else utilization / 100,
            latency_seconds=targets.latency_seconds,
        ),
        batching=BatchPolicy(Bounds(batching.floor, batching.ceiling), Mode(batching.mode.value)),
        mode=Mode(scaling.mode.value),
        scale_up=_rules(scaling.behavior.scale_up, DEFAULT_SCALE_UP),
        scale_down=_rules(scaling.behavior.scale_down, DEFAULT_SCALE_DOWN),
        max_queue_seconds=pool.spec.serving.max_queue_seconds / WAIT_RESERVE,
    )


def _rules(given: api.ScalingRules | None, default: ScalingRules) -> ScalingRules:
    """Field by field, as the API server fills in the behavior of a HorizontalPodAutoscaler."""
    if given is None:
        return default
    window, select = given.stabilization_window_seconds, given.select_policy
    return ScalingRules(
        window_seconds=default.window_seconds if window is None else window,
        policies=tuple(map(_rate, given.policies)) if given.policies else default.policies,
        select=default.select if select is None else SelectPolicy(select.value),
    )


def _rate(policy: api.ScalingPolicy) -> RatePolicy:
    return RatePolicy(RateType(policy.type.value), policy.value, policy.period_seconds)
