"""How many rows of a bucket one step may have."""

from collections.abc import Iterable

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration


class RowLimits:
    """A `choice.RowLimit`: the least of the live batch size, the bucket's knee, and what memory held; at least 1.

    `rows_held` is what memory held of the calibration's bucket at warm-up, if not all that were tried.
    """

    def __init__(self, calibration: Calibration, batch_size: int, rows_held: int | None = None) -> None:
        self.batch_size = batch_size
        self._calibration = calibration
        self._knees: dict[Bucket, int] = {}
        self._memory: dict[Bucket, int] = {}
        if rows_held is not None:
            self.lower(calibration.reference, rows_held)

    def __call__(self, bucket: Bucket) -> int:
        """Rows of `bucket` in one step."""
        knee = self._knees.get(bucket)
        if knee is None:
            knee = self._knees[bucket] = self._calibration.curve(bucket).knee()
        return min(self.batch_size, knee, self._memory.get(bucket, knee))

    def lower(self, bucket: Bucket, rows: int) -> None:
        """Remember that memory holds no more than `rows` rows of `bucket`."""
        self._memory[bucket] = max(1, rows)


def draining_batch_size(batch_size: int, counted_on: Iterable[int]) -> int:
    """The batch size of a drain: that of the pool, but no less than any that an admission in flight counted on.

    Who was admitted at 8 rows was promised an end that a single row would miss by far, and `drain_seconds` with it.
    """
    return max(batch_size, max(counted_on, default=batch_size))
