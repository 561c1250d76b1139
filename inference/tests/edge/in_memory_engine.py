"""An engine without a model, at the facade's seam: each image is one colour, made of its seed; large ones are noise."""

import asyncio
import mmap
import random
from collections.abc import Sequence

from waiting import until

from fluxpool_inference.engine import (
    BucketCost,
    DeviceMemory,
    Engine,
    EngineConfig,
    EngineObserver,
    EngineStatus,
    GraphTiming,
    ImageRequest,
    ModelInfo,
    RawImage,
    Rejected,
    RejectReason,
    RequestFailed,
    Stage,
    Ticket,
    Timings,
    TooLarge,
    TooLong,
    Utilization,
    WorkerMemory,
    WorkerState,
    WorkerStatus,
)

WORK_SECONDS = 2.0
PROMPT_TOKENS = 8


class InMemoryTicket:
    """One image. It goes through two steps, `step_seconds` each, once the engine's `gate` is open."""

    def __init__(self, engine: "InMemoryEngine", request: ImageRequest) -> None:
        self.request = request
        self.wait_estimate_seconds = 0.5
        self.stage = Stage.QUEUE
        self._engine = engine
        self._done = asyncio.Event()
        self._ended = False

    async def result(self) -> RawImage:
        observer = self._engine.observer
        try:
            await self._engine.gate.wait()
            if self.request.seed in self._engine.held_seeds:
                await asyncio.Event().wait()
            self.stage = Stage.DENOISE
            observer.started(0.25)
            observer.prompt_encoded(hit=False)
            for _ in range(2):
                await asyncio.sleep(self._engine.step_seconds)
                observer.step_done(self.request.width * self.request.height, 1, 0.1)
                observer.busy(0.1)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if "fail" in self.request.prompt or self.request.seed in self._engine.failing_seeds:
            self._end()
            observer.failed(0.3)
            raise RequestFailed("the latents are not finite")
        self.stage = Stage.RESPOND
        return self._image()

    def cancel(self) -> None:
        if not self._ended:
            self._end()
            self._engine.observer.cancelled(self.stage, WORK_SECONDS, 0.3)

    def _image(self) -> RawImage:
        request = self.request
        memory = mmap.mmap(-1, request.width * request.height * 3)
        colour = bytes((request.seed % 256, request.seed // 256 % 256, 7))
        large = request.width * request.height >= 1024 * 1024
        memory[:] = random.Random(request.seed).randbytes(len(memory)) if large else colour * (len(memory) // 3)
        timings = Timings(0.25, 0.01, 0.2, 0.01, 0.5)
        truncated = [max(0, len(prompt.split()) - PROMPT_TOKENS) for prompt in request.prompts]
        return RawImage(memory, request, timings, *truncated, on_release=self._released)

    def _released(self) -> None:
        if not self._ended:
            self._end()
            self._engine.observer.finished(0.5)

    def _end(self) -> None:
        self._ended = True
        self._engine.tickets.remove(self)


class InMemoryEngine(Engine):
    """Tests set its public attributes up to `worker_graphs`, and read the others."""

    def __init__(self, config: EngineConfig, observer: EngineObserver) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.step_seconds = 0.0
        self.failing_seeds: set[int] = set()
        self.held_seeds: set[int] = set()
        self.rejection: Rejected | TooLarge | TooLong | None = None
        self.model_info = ModelInfo("m", "flux-dev", True, 3.5, 28, 512, "float32", "cpu", 1000)
        self.worker_state = WorkerState.STARTING
        self.worker_deaths = 0
        self.worker_memory: WorkerMemory | None = None
        self.worker_graphs: tuple[GraphTiming, ...] = ()
        self.config = config
        self.observer = observer
        self.tickets: list[InMemoryTicket] = []
        self.admitted_with: dict[str, object] = {}
        self.stopped = False
        self.predicted_buckets: tuple[BucketCost, ...] = ()
        self.memory = DeviceMemory(0, 0)
        self.utilization = Utilization("engine_busy", 0.25)
        self._batch_size = config.batch_size
        self._draining = False

    async def start(self) -> None:
        self.worker_state = WorkerState.READY

    @property
    def model(self) -> ModelInfo:
        if self.worker_state is WorkerState.STARTING:
            raise RuntimeError("not started")
        return self.model_info

    def cost_is_predicted(self, request: ImageRequest) -> bool:
        return (request.width, request.height) != (64, 64)

    async def admit(
        self, requests: Sequence[ImageRequest], *, first_attempt: bool = True, deadline_seconds: float | None = None
    ) -> list[Ticket]:
        self.admitted_with = {"first_attempt": first_attempt, "deadline_seconds": deadline_seconds}
        rejection = self.rejection
        if self._draining:
            rejection = Rejected(RejectReason.DRAINING, 1, "draining")
        if isinstance(rejection, TooLarge | TooLong):
            raise rejection
        if rejection:
            self.observer.rejected(rejection.reason, len(requests), WORK_SECONDS * len(requests), first_attempt)
            raise rejection
        admitted = [InMemoryTicket(self, request) for request in requests]
        self.tickets.extend(admitted)
        for _ in admitted:
            self.observer.admitted(WORK_SECONDS, 0.5)
        return list(admitted)

    def status(self) -> EngineStatus:
        started = self.worker_state is not WorkerState.STARTING
        waiting = sum(ticket.stage is Stage.QUEUE for ticket in self.tickets)
        running = len(self.tickets) - waiting
        return EngineStatus(
            model=self.model_info if started else None,
            ready=self.worker_state is WorkerState.READY and not self._draining,
            draining=self._draining,
            batch_size=self._batch_size,
            batch_size_min=self.config.batch_size_min,
            batch_size_max=self.config.batch_size_max,
            waiting=waiting,
            running=running,
            queued_work_seconds=waiting * WORK_SECONDS,
            running_work_seconds=running * WORK_SECONDS / 2,
            step_fixed_seconds=0.05 if started else 0.0,
            step_per_row_seconds=0.02 if started else 0.0,
            warm_buckets=(BucketCost(64, 64, 0.05, 0.02),) if started else (),
            predicted_buckets=self.predicted_buckets,
            pace=self.config.pace,
            workers=(self._worker(),),
            memory=self.memory,
            utilization=self.utilization if started else Utilization("engine_busy", 0.0),
        )

    def _worker(self) -> WorkerStatus:
        in_flight = len(self.tickets)
        return WorkerStatus(
            index=0,
            state=self.worker_state,
            pid=4711,
            device="cpu",
            deaths=self.worker_deaths,
            problem="it exited with code 4" if self.worker_deaths else None,
            in_flight=in_flight,
            remaining_work_seconds=in_flight * WORK_SECONDS,
            memory=self.worker_memory,
            graphs=self.worker_graphs,
        )

    async def set_batch_size(self, rows: int) -> int:
        self._batch_size = rows
        return rows

    async def drain(self) -> None:
        self._draining = True
        await until(lambda: not self.tickets)

    async def stop(self) -> None:
        self.stopped = True
