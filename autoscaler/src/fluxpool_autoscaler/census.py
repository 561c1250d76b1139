"""Which pods count, and which samples.

A sample counts if its pod is known, ready and not terminating, if it is younger than the age limit, and if the process
that gave it is the one that runs now. After a container restart the old process's last numbers are still the newest in
the metric store: the pod is then missing, not idle.
"""

from dataclasses import dataclass

from fluxpool_autoscaler.decision import Coverage
from fluxpool_autoscaler.observation import Observation, PodObservation, PodSample, Signal, finite

AGE_LIMIT_SCRAPES = 3
# Until two scrapes of a pod have been seen. Prometheus' default interval is 60 s.
ASSUMED_SCRAPE_INTERVAL_SECONDS = 60.0
# The container's start comes from the kubelet in whole seconds, the process's from the kernel's boot time, which is
# good to a second too. Both are of one node's clock, so nothing else can part them.
START_ROUNDING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Census:
    """The pods that are not terminating, by what their samples are worth.

    Attributes:
        samples: of the ready pods whose sample counts, by UID.
        absent: UIDs of ready pods without a sample.
        ended: UIDs of ready pods whose sample is of a process that has ended.
        stale: UIDs of ready pods whose sample is past the age limit.
        unready: how many replicas are not ready: pods starting or failing, and pods that do not exist yet.
    """

    samples: dict[str, PodSample]
    absent: tuple[str, ...]
    ended: tuple[str, ...]
    stale: tuple[str, ...]
    unready: int

    @property
    def ready(self) -> int:
        """How many pods are ready, measured or not."""
        return len(self.samples) + len(self.absent) + len(self.ended) + len(self.stale)

    def values(self, signal: Signal) -> list[float]:
        """The signal of every pod that has it; the other ready pods are missing for this signal."""
        return [value for sample in self.samples.values() if (value := signal(sample)) is not None]


def age_limit_seconds(observation: Observation) -> float:
    """How old a sample may be: three scrapes."""
    return AGE_LIMIT_SCRAPES * (observation.scrape_interval_seconds or ASSUMED_SCRAPE_INTERVAL_SECONDS)


def take_census(observation: Observation) -> Census:
    """Sort the pods of an observation."""
    present = [pod for pod in observation.pods if not pod.terminating]
    ready = [pod for pod in present if pod.ready]
    samples: dict[str, PodSample] = {}
    absent, ended, stale = [], [], []
    for pod in ready:
        if pod.sample is None:
            absent.append(pod.uid)
        elif not _of_present_process(pod, pod.sample):
            ended.append(pod.uid)
        elif not pod.sample.age_seconds <= age_limit_seconds(observation):  # NaN is no age
            stale.append(pod.uid)
        else:
            samples[pod.uid] = pod.sample
    # A look every two seconds comes before the pods just asked for exist: they are as unready as those that start.
    unready = max(len(present), observation.replicas) - len(ready)
    return Census(samples, tuple(absent), tuple(ended), tuple(stale), max(unready, 0))


def coverage(census: Census, *gates: Signal) -> Coverage:
    """What the samples are worth if these signals gate a scale-down: a pod must have a value of each."""
    incomplete = tuple(uid for uid, one in census.samples.items() if any(gate(one) is None for gate in gates))
    counted = tuple(uid for uid in census.samples if uid not in incomplete)
    return Coverage(counted, census.absent, census.ended, incomplete, census.stale)


def _of_present_process(pod: PodObservation, sample: PodSample) -> bool:
    started = finite(sample.process_started_at)
    if started is None or pod.container_started_at is None:
        return False
    return started >= pod.container_started_at - START_ROUNDING_SECONDS
