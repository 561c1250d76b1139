"""What a run left behind: plain frozen data, written to and read from one JSON file.

All times are seconds on the run's own clock, which starts at 0 when the FluxPool is applied. Everything that is
reported, drawn or judged is computed from a `Recording`, so a picture can be made again without another run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from fluxpool_demo.load import RequestRecord
from fluxpool_demo.schedule import Schedule, Step


class Knob(StrEnum):
    """What a decision turns."""

    REPLICAS = "replicas"
    BATCH_SIZE = "batch size"


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of a desired number in the pool's status.

    Attributes:
        at: when the write was seen.
        knob: which number.
        before: the number before; None if there was none.
        after: the number since.
        reason: the operator's sentence; empty if none came with it.
    """

    at: float
    knob: Knob
    before: int | None
    after: int
    reason: str = ""

    @property
    def is_rise(self) -> bool:
        """Whether the number went up."""
        return self.before is not None and self.after > self.before

    @property
    def is_fall(self) -> bool:
        """Whether the number went down."""
        return self.before is not None and self.after < self.before


@dataclass(frozen=True, slots=True)
class Sample:
    """The pool at one moment; None is what nobody could tell.

    Attributes:
        at: when.
        waiting: requests admitted and not begun, over all pods.
        running: requests begun and not answered, over all pods.
        batch_size: the least live batch size of the ready pods.
        desired_batch_size: of the pool's status.
        desired_replicas: of the pool's status.
        ready: pods that serve.
        pods: pods there are, those that start or end included.
    """

    at: float
    waiting: float | None
    running: float | None
    batch_size: int | None
    desired_batch_size: int | None
    desired_replicas: int | None
    ready: int
    pods: int


@dataclass(frozen=True, slots=True)
class PodRecord:
    """One pod's life; None for what did not happen while we looked.

    Attributes:
        restarts: of its containers, all together.
        exit_code: of its container's end; 0 says that it had answered all it had admitted.
    """

    name: str
    seen_at: float
    ready_at: float | None = None
    ending_at: float | None = None
    gone_at: float | None = None
    restarts: int = 0
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Pacing:
    """Steps of all pods that were held to a pace, and those that took longer than it."""

    steps: int = 0
    overruns: int = 0

    @property
    def overrun_share(self) -> float:
        """0 to 1; 0 without paced steps."""
        return self.overruns / self.steps if self.steps else 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """A whole run.

    Attributes:
        command: what was typed.
        date: when it started, ISO 8601.
        machine: what it ran on.
        versions: of what took part.
        scrape_interval_seconds: of the pool's Prometheus.
        ready_at: when the pool was Ready.
        first_image_at: when the first image was there.
        load_started_at: when the schedule began.
        schedule: the load.
        requests: of the load only.
        total_seconds: of everything, cluster and chart included, up to the end of the load's aftermath.
    """

    command: str
    date: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    scrape_interval_seconds: float
    ready_at: float
    first_image_at: float
    load_started_at: float
    schedule: Schedule
    samples: tuple[Sample, ...]
    decisions: tuple[Decision, ...]
    requests: tuple[RequestRecord, ...]
    pods: tuple[PodRecord, ...]
    pacing: Pacing = field(default_factory=Pacing)
    total_seconds: float = 0.0

    @property
    def load_ended_at(self) -> float:
        """When the schedule was over."""
        return self.load_started_at + self.schedule.seconds

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Recording:
    """Read what `Recording.write` wrote."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Recording(
        **raw
        | {
            "schedule": Schedule(tuple(Step(**step) for step in raw["schedule"]["steps"])),
            "samples": tuple(Sample(**item) for item in raw["samples"]),
            "decisions": tuple(Decision(**item | {"knob": Knob(item["knob"])}) for item in raw["decisions"]),
            "requests": tuple(RequestRecord(**item) for item in raw["requests"]),
            "pods": tuple(PodRecord(**item) for item in raw["pods"]),
            "pacing": Pacing(**raw["pacing"]),
        }
    )
