"""One worker: its process, what it has to do, and what its steps cost."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.cost_file import CostFile, cost_file
from fluxpool_inference.engine.ledger import Entry, Ledger
from fluxpool_inference.engine.process import environment_of
from fluxpool_inference.engine.serving import Serving
from fluxpool_inference.engine.supervisor import Events, Supervisor
from fluxpool_inference.engine.telemetry import BusyMeter, Telemetry
from fluxpool_inference.engine.types import EngineObserver, WorkerMemory, WorkerState, WorkerStatus
from fluxpool_inference.engine.watchdog import Watchdog
from fluxpool_inference.ipc.messages import Cancel, Ready, Submit
from fluxpool_inference.scheduling.choice import DeadlineQueue
from fluxpool_inference.scheduling.costs import Calibration
from fluxpool_inference.scheduling.forecast import Forecast, forecast


@dataclass(frozen=True, slots=True)
class Place:
    """What is the same for all lanes of an engine."""

    workers: int
    config: Callable[[], EngineConfig]
    ledger: Ledger
    observer: EngineObserver
    watchdog_seconds: float


class Lane:
    """One of the pod's workers, through all its processes. `index` counts them from 0."""

    def __init__(self, index: int, place: Place, events: Events) -> None:
        self.index = index
        self.unfinished: DeadlineQueue[Entry] = place.ledger.of(index)
        self.supervisor = Supervisor(index, place.config, events, environment_of(index, place.workers))
        self.meter = BusyMeter()
        self.telemetry = Telemetry(self.meter)
        self.watchdog = Watchdog(place.watchdog_seconds)
        self._place = place
        self._serving: Serving | None = None
        self._file: CostFile | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a process that serves."""
        return self.supervisor.state is WorkerState.READY

    @property
    def has_served(self) -> bool:
        """Whether there was ever such a process."""
        return self._serving is not None

    @property
    def serving(self) -> Serving:
        """What the last process that was ready told. Raises RuntimeError before the first."""
        if self._serving is None:
            raise RuntimeError(f"worker {self.index} has not been ready")
        return self._serving

    def takes_over(self, ready: Ready, batch_size: int) -> None:
        """A process serves. What its steps take is known from those before, and what it holds from itself."""
        place = self._place
        self.telemetry.watch(ready.device_uuid)
        if self._serving is None:
            self._file = cost_file(ready.hardware, place.config())
            known = ready.known
        else:
            known = self._serving.costs.known()
        self._serving = Serving(
            self.index,
            ready,
            known,
            batch_size=batch_size,
            knee_gain=place.config().knee_gain,
            ledger=place.ledger,
            meter=self.meter,
            observer=place.observer,
        )

    async def write_costs(self) -> None:
        """Keep what is known of its costs, where a folder for that is configured; if this is cancelled, all the same.

        In a thread, since the folder may be on a volume that stalls.
        """
        if self._file is not None:
            await asyncio.to_thread(self._file.write, self.serving.costs.known())

    def set_batch_size(self, rows: int) -> None:
        """The ceiling of rows that forecasts count on."""
        if self._serving is not None:
            self._serving.limits.batch_size = rows

    def submit(self, entry: Entry) -> None:
        """Have the worker make an image that is in its queue."""
        if len(self.unfinished) == 1:
            self.serving.progress.idle_until_now()
        order = Submit(entry.number, entry.request, entry.bucket, entry.deadline)
        entry.delivered = self.supervisor.send(order)

    def withdraw(self, entry: Entry) -> None:
        """Have the worker forget an image."""
        self.supervisor.send(Cancel(entry.number))

    def load(self, unit: Calibration) -> float:
        """Work-seconds of what it has to do."""
        return sum(entry.remaining_work(unit) for entry in self.unfinished)

    def forecast(self, offered: Iterable[Entry], now: float) -> Forecast:
        """When what it has, and what is offered (most urgent first), will start and end there; seconds from now."""
        serving = self.serving
        self._keep()
        elapsed = now - serving.progress.last_report
        return forecast(self.unfinished, offered, serving.costs, serving.limits, elapsed)

    def working_since(self) -> float | None:
        """When the worker began what it has not reported yet; None if it has nothing to do."""
        return self.serving.progress.last_report if self.ready and self.unfinished else None

    def longest_expected_seconds(self) -> float:
        """The longest that anything should take which the worker may be doing now."""
        costs, limits = self.serving.costs, self.serving.limits
        decoded_together = self._place.config().decode_batch_size
        self._keep()
        kinds = {(entry.bucket, entry.rows) for entry in self.unfinished}
        return max(
            (
                max(
                    costs.step_seconds(bucket, limits(bucket)),
                    rows * costs.step_seconds(bucket, 1),
                    rows * costs.prompt_seconds(bucket),
                    decoded_together * costs.image_seconds(bucket),
                )
                for bucket, rows in kinds
            ),
            default=0.0,
        )

    def _keep(self) -> None:
        """Count what images keep on the device, as the worker does."""
        encoded = (entry for entry in self.unfinished if entry.encoded)
        self.serving.limits.keeps(entry.bucket for entry in encoded for _ in range(entry.rows))

    def status(self, unit: Calibration | None) -> WorkerStatus:
        """For `/admin/status` and metrics; `unit` is None before anything was loaded."""
        supervisor = self.supervisor
        return WorkerStatus(
            index=self.index,
            state=supervisor.state,
            pid=supervisor.pid,
            device=supervisor.device,
            deaths=supervisor.deaths,
            problem=supervisor.problem,
            in_flight=len(self.unfinished),
            remaining_work_seconds=self.load(unit) if unit else 0.0,
            memory=self._memory_status(),
            graphs=self._serving.graphs if self._serving else (),
        )

    def _memory_status(self) -> WorkerMemory | None:
        serving = self._serving
        if serving is None or serving.memory is None:
            return None
        self._keep()
        memory, bucket = serving.memory, serving.memory.reference
        return WorkerMemory(
            room_bytes=memory.room_bytes,
            in_flight_bytes=round(serving.limits.in_flight_bytes),
            step_fixed_bytes=round(memory.step.fixed_bytes),
            step_row_bytes=round(memory.step.token_bytes * bucket.tokens),
            encode_bytes=memory.encode_bytes,
            decode_bytes=memory.decode_bytes,
            rows=serving.limits.held(bucket, memory.rows(bucket, serving.limits.in_flight_bytes)),
            largest_pixels=memory.largest_pixels(bucket.text_tokens),
        )
