"""What a step costs at the sizes that this engine has met: measured at warm-up, or predicted by their operations."""

from fluxpool_inference.engine.types import BucketCost
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration
from fluxpool_inference.values import LATENT_MULTIPLE

MOST_PREDICTED = 32
"""There are thousands of sizes, and whoever asks chooses: only the last ones are remembered."""


class Sizes:
    """Each size is computed once, since a status is asked for often."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._predicted: dict[Bucket, BucketCost] = {}
        self.measured = (self._cost(calibration.reference),)

    @property
    def predicted(self) -> tuple[BucketCost, ...]:
        """The last `MOST_PREDICTED` of them, the latest at the end."""
        return tuple(self._predicted.values())

    def admitted(self, bucket: Bucket) -> None:
        """An image of this size was admitted."""
        if self._calibration.measured(bucket):
            return
        known = bucket in self._predicted
        self._predicted[bucket] = self._predicted.pop(bucket) if known else self._cost(bucket)
        if len(self._predicted) > MOST_PREDICTED:
            del self._predicted[next(iter(self._predicted))]

    def _cost(self, bucket: Bucket) -> BucketCost:
        curve = self._calibration.curve(bucket)
        width, height = LATENT_MULTIPLE * bucket.width, LATENT_MULTIPLE * bucket.height
        return BucketCost(width, height, curve.fixed_seconds, curve.per_row_seconds)
