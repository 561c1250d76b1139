"""The decision function: one observation in, two numbers out."""

from dataclasses import replace

from fluxpool_autoscaler.batch_size import decide_batch_size
from fluxpool_autoscaler.census import coverage, take_census
from fluxpool_autoscaler.decision import Decision
from fluxpool_autoscaler.memory import Memory
from fluxpool_autoscaler.observation import Observation, finite, gpu_utilization, queue_depth
from fluxpool_autoscaler.policy import Policy
from fluxpool_autoscaler.replicas import decide_replicas


def decide(observation: Observation, memory: Memory, policy: Policy, now: float) -> tuple[Decision, Memory]:
    """Decide both numbers of one FluxPool.

    Pure: equal arguments give equal results, nothing is read or written elsewhere.

    Args:
        observation: what was seen of the pool.
        memory: what the last decision on this pool returned; `Memory()` at the first.
        policy: what the user wants.
        now: seconds of a monotonic clock, the same for all decisions that share a memory, and never less than at the
            last.

    Returns:
        The decision, and the memory to give to the next one.
    """
    mean_work = finite(observation.mean_request_work_seconds)
    if mean_work is None:
        mean_work = memory.mean_request_work_seconds
    observation = replace(observation, mean_request_work_seconds=mean_work)
    replicas, replica_memory = decide_replicas(observation, memory.replicas, policy, now)
    batch_size, batch_memory = decide_batch_size(observation, memory.batch_size, policy, now)
    decision = Decision(replicas, batch_size, coverage(take_census(observation), queue_depth, gpu_utilization))
    return decision, Memory(replica_memory, batch_memory, mean_work)
