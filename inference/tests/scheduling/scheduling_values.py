"""Small values for tests of decisions."""

from dataclasses import dataclass

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, StepCurve, TransformerShape

SMALL = Bucket(4, 4, 64)
WIDE = Bucket(4, 8, 64)
TALL = Bucket(8, 4, 64)
FLUX = TransformerShape(inner_dim=3072, blocks=57)


def calibration(fixed: float = 0.4, per_row: float = 0.1, encode: float = 0.05, decode: float = 0.2) -> Calibration:
    return Calibration(TransformerShape(64, 2), SMALL, StepCurve(fixed, per_row), encode, decode)


@dataclass(slots=True, eq=False)
class Image:
    number: int
    bucket: Bucket
    deadline: float
    steps_left: int
    started: bool = False
    rows: int = 1
    reproducible: bool = False
