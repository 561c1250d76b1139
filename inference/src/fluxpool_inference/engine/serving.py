"""What there is once a worker has been ready."""

from fluxpool_inference.engine.ledger import Ledger
from fluxpool_inference.engine.progress import Progress
from fluxpool_inference.engine.sizes import Sizes
from fluxpool_inference.engine.telemetry import BusyMeter
from fluxpool_inference.engine.types import EngineObserver
from fluxpool_inference.ipc.messages import Ready
from fluxpool_inference.scheduling.costs import Known, OnlineCosts
from fluxpool_inference.scheduling.limits import RowLimits


class Loaded:
    """The model, the unit of work, and the sizes. The first worker's numbers hold for the engine's life."""

    def __init__(self, ready: Ready) -> None:
        self.model = ready.model
        self.calibration = ready.calibration
        self.sizes = Sizes(ready.calibration)


class Serving:
    """What one worker's steps cost and hold, and who listens to it."""

    def __init__(
        self,
        worker: int,
        ready: Ready,
        known: Known | None,
        *,
        batch_size: int,
        knee_gain: float,
        ledger: Ledger,
        meter: BusyMeter,
        observer: EngineObserver,
    ) -> None:
        self.costs = OnlineCosts.resumed(ready.calibration, known) if known else OnlineCosts(ready.calibration)
        self.memory = ready.memory
        self.graphs = ready.graphs
        self.limits = RowLimits(ready.calibration, batch_size, ready.rows_held, ready.memory, knee_gain)
        self.progress = Progress(ledger, worker, costs=self.costs, limits=self.limits, meter=meter, observer=observer)
