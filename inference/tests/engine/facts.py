"""An observer that remembers, and what an engine's facts must add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxpool_inference.engine import RejectReason, Stage


@dataclass
class Facts:
    """Each list holds one kind of fact, in order."""

    admitted_work: list[float] = field(default_factory=list)
    estimates: list[float] = field(default_factory=list)
    rejections: list[tuple[RejectReason, int, float, bool]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    overruns: list[bool] = field(default_factory=list)
    busy_seconds: list[float] = field(default_factory=list)
    finishes: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    cancellations: list[tuple[Stage, float]] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    stages: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def in_flight(self) -> int:
        """Admitted and not ended, by the facts alone."""
        return len(self.admitted_work) - len(self.finishes) - len(self.failures) - len(self.cancellations)

    def admitted(self, work_seconds: float, wait_estimate_seconds: float) -> None:
        self.admitted_work.append(work_seconds)
        self.estimates.append(wait_estimate_seconds)

    def rejected(self, reason: RejectReason, images: int, work_seconds: float, first_attempt: bool) -> None:
        self.rejections.append((reason, images, work_seconds, first_attempt))

    def started(self, wait_seconds: float) -> None:
        self.waits.append(wait_seconds)

    def prompt_encoded(self, hit: bool) -> None:
        self.hits.append(hit)

    def step_done(self, pixels: int, rows: int, duration_seconds: float) -> None:
        self.rows.append(rows)

    def paced_step(self, overran: bool) -> None:
        self.overruns.append(overran)

    def busy(self, seconds: float) -> None:
        self.busy_seconds.append(seconds)

    def finished(self, duration_seconds: float) -> None:
        self.finishes.append(duration_seconds)

    def failed(self, duration_seconds: float) -> None:
        self.failures.append(duration_seconds)

    def cancelled(self, stage: Stage, remaining_work_seconds: float, duration_seconds: float) -> None:
        self.cancellations.append((stage, remaining_work_seconds))

    def worker_exited(self, index: int, reason: str) -> None:
        self.exits.append(reason)

    def start_stage(self, stages: Mapping[str, float]) -> None:
        self.stages.append(stages)
