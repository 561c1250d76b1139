"""What is compared: each cell is a model, a load, and the sides that carry it.

Every request has a prompt that no server has seen (`{seed}` in it), short enough that nothing of it is cut, so text is
encoded for each image on each side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fluxpool_bench.session import Closed, Load, Open
from fluxpool_bench.workload import Kind

Model = Literal["tiny", "small"]
MODELS: dict[Model, str] = {"tiny": "0.28 M parameters", "small": "36 M parameters"}
"""Of the transformer, random; float32."""
TEXT_TOKENS = 32

OURS = "fluxpool"
BARE = "bare loop"
LOCK, POOL = "original, lock", "original, pool"
SERVERS = ("FastAPI batcher", "mosec", "LitServe")
PEERS = (*SERVERS, LOCK, POOL)

MIXED_STEPS = (4, 8, 16, 28)
SHORT_STEPS = min(MIXED_STEPS)
MAX_QUEUE_SECONDS = 5.0
"""Longest wait that is admitted in the overload, and there alone; elsewhere it is the default."""
OVERLOAD = 10
PACE = "0.1,0.0125"
"""`--pace`: 0.2 s for a step of eight rows, about what the `small` model takes for one on the recorded machine."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the comparison.

    Attributes:
        model: Which random pipeline.
        rows: Most images of one batch (ours: of one step), on every side that batches.
        kinds: What is asked for, by weight.
        load: How it is asked for.
        requests: Of one run; an open load has its own number.
        sides: Who is measured, in turn, in every round.
        overload: Whether `overload` runs it, which makes its own open load.
        pace: That our steps are held to, so that the device is steady, which a machine that others share is not; None
            does not hold them. Such a cell says something of the control, and nothing of speed.
    """

    name: str
    model: Model
    kinds: tuple[Kind, ...]
    load: Load
    requests: int
    sides: tuple[str, ...] = (OURS, *PEERS)
    rows: int = 8
    overload: bool = False
    pace: str | None = None

    def describe(self) -> dict[str, object]:
        """What a reader must know of it."""
        paced = {} if self.pace is None else {"pace": self.pace}
        return {
            "model": f"{self.model}{' paced' if paced else ''}, {MODELS[self.model]}",
            **paced,
            "text_tokens": TEXT_TOKENS,
            "rows": self.rows,
            "load": str(self.load),
            "requests": self.requests,
            "kinds": [kind.name for kind in self.kinds],
            "figures": list(self.figures),
        }

    @property
    def figures(self) -> tuple[str, ...]:
        """What is compared: how much a closed loop got done, and how long requests took; `short` are the shortest."""
        mixed = ("short",) if len({kind.steps for kind in self.kinds}) > 1 else ()
        return (*(("throughput",) if isinstance(self.load, Closed) else ()), "p50", "p99", *mixed)

    def shortened(self) -> "Cell":
        """The same with as few requests as show that it works."""
        if isinstance(self.load, Open):
            return replace(self, load=Open(self.load.arrivals[:8], self.load.name))
        return replace(self, requests=min(self.requests, 2 * self.load.concurrency))


def kind(size: str, steps: int, give_up_seconds: float | None = None) -> Kind:
    """A kind of request whose prompts are all different."""
    return Kind(size, steps, give_up_seconds=give_up_seconds, prompts=("{seed} a red fox", "{seed} an old oak"))


def bursts(count: int, images: int, every_seconds: float) -> Open:
    """`images` requests at once, `count` times."""
    times = tuple(burst * every_seconds for burst in range(count) for _ in range(images))
    return Open(times, f"{count} bursts of {images}, {every_seconds:g} s apart")


_QUICK = (kind("64x64", 4),)
_MIXED = tuple(kind("64x64", steps) for steps in MIXED_STEPS)
_SIZES = tuple(kind(size, 8) for size in ("64x64", "64x96", "96x96", "128x128"))
_FICKLE = (kind("64x64", 28), kind("64x64", 28, give_up_seconds=0.1))
_OVERLOAD = Cell("overload", "small", _QUICK, Closed(16), requests=48, sides=(OURS,), overload=True)

CELLS: Sequence[Cell] = (
    Cell("mixed_steps", "tiny", _MIXED, Closed(8), requests=64),
    Cell("original", "tiny", _QUICK, Closed(32), requests=384, sides=(OURS, LOCK, POOL), rows=32),
    Cell("uniform_c8", "tiny", _QUICK, Closed(8), requests=96, sides=(OURS, *PEERS, BARE)),
    Cell("uniform_c8_36m", "small", _QUICK, Closed(8), requests=48, sides=(OURS, *SERVERS, BARE)),
    Cell("original_36m", "small", _QUICK, Closed(8), requests=32, sides=(OURS, LOCK, POOL)),
    *(Cell(f"uniform_c{n}", "tiny", _QUICK, Closed(n), requests=max(24, 6 * n)) for n in (1, 2, 4, 16, 32)),
    Cell("mixed_sizes", "tiny", _SIZES, Closed(8), requests=64),
    Cell("bursts", "tiny", _QUICK, bursts(3, 16, 1.5), requests=48),
    Cell("cancellations", "tiny", _FICKLE, Closed(8), requests=64),
    _OVERLOAD,
    replace(_OVERLOAD, name="overload_paced", model="tiny", pace=PACE),
)
"""In order of importance."""
