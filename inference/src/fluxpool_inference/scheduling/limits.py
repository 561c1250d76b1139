"""How many rows of a bucket one step may have."""

from collections.abc import Iterable

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import KNEE_GAIN, Calibration
from fluxpool_inference.scheduling.memory import Memory


class RowLimits:
    """A `choice.RowLimit`: the least of the live batch size, the bucket's knee, and what memory holds; at least 1.

    Memory holds what `memory` predicts beside the images in flight, and no more than it was ever seen to hold.
    `rows_held` is what it held of the calibration's bucket at warm-up, if not all that were tried. For `knee_gain` see
    `StepCurve.knee`.

    Attributes:
        batch_size: The live one.
        in_flight_bytes: What images in flight keep on the device between their steps.
    """

    def __init__(
        self,
        calibration: Calibration,
        batch_size: int,
        rows_held: int | None = None,
        memory: Memory | None = None,
        knee_gain: float = KNEE_GAIN,
    ) -> None:
        self.batch_size = batch_size
        self.in_flight_bytes = 0.0
        self._calibration = calibration
        self._memory = memory
        self._knee_gain = knee_gain
        self._knees: dict[Bucket, int] = {}
        self._held: dict[Bucket, int] = {}
        if rows_held is not None:
            self.lower(calibration.reference, rows_held)

    def __call__(self, bucket: Bucket) -> int:
        """Rows of `bucket` in one step."""
        knee = self._knees.get(bucket)
        if knee is None:
            knee = self._knees[bucket] = self._calibration.curve(bucket).knee(self._knee_gain)
        rows = self.held(bucket, min(self.batch_size, knee))
        if self._memory is not None:
            rows = min(rows, self._memory.rows(bucket, self.in_flight_bytes))
        return max(1, rows)

    def keeps(self, buckets: Iterable[Bucket]) -> None:
        """Rows of these buckets are in flight, each with what `Memory.image_bytes` says on the device."""
        if self._memory is not None:
            self.in_flight_bytes = sum(map(self._memory.image_bytes, buckets))

    def held(self, bucket: Bucket, rows: int) -> int:
        """Of so many rows of `bucket` as many as memory may hold, by what it was seen not to hold."""
        return min(rows, self._held.get(bucket, rows))

    def lower(self, bucket: Bucket, rows: int) -> None:
        """Remember that memory holds no more than `rows` rows of `bucket`."""
        self._held[bucket] = max(1, rows)


def draining_batch_size(batch_size: int, counted_on: Iterable[int]) -> int:
    """The batch size of a drain: that of the pool, but no less than any that an admission in flight counted on.

    Who was admitted at 8 rows was promised an end that a single row would miss by far, and `drain_seconds` with it.
    """
    return max(batch_size, max(counted_on, default=batch_size))
