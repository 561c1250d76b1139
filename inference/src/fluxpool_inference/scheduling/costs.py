"""How long things take: measured at warm-up at one size, predicted for every other.

A denoising step over `rows` rows of a bucket takes t = a + k FLOP(rows, bucket) seconds: `a` is what a step costs
whatever is in it (launches, Python), `k` the seconds per floating-point operation. Both come from a least-squares fit
over steps of 1, 2, 4 and 8 rows of the default size. A `Calibration` never changes: it defines the work-second, so
neither load nor batch size can change what a request's work is. What the present traffic shows beyond it is kept
apart, in `OnlineCosts`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fluxpool_inference.configuration import Pace
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.values import LATENT_MULTIPLE

WARM_ROWS = (1, 2, 4, 8)
"""The numbers of rows whose steps are measured at warm-up."""

KNEE_GAIN = 0.03
"""One more row is worth it while it lowers the time per row by more than this share, unless configured otherwise."""
MOST_ROWS = 256
"""Of a step, whatever its knee."""

MOST_FACTORS = 32
"""Of steps: whoever asks chooses among thousands of sizes, so what was used longest ago is forgotten."""

_LEARNING_RATE = 0.1
_FACTOR_RANGE = (0.1, 10.0)


@dataclass(frozen=True, slots=True)
class StepCurve:
    """t(rows) = fixed_seconds + per_row_seconds * rows, for one bucket."""

    fixed_seconds: float
    per_row_seconds: float

    @classmethod
    def fit(cls, samples: Iterable[tuple[int, float]]) -> "StepCurve":
        """Least squares over (rows, seconds), each weighted by 1 / seconds**2 so that relative errors count alike.

        Neither coefficient is negative: noise in a few samples must not make more rows free, or a step of no rows a
        gain.
        """
        points = [(rows, seconds, seconds**-2) for rows, seconds in samples]
        weight = sum(w for _, _, w in points)
        mean_rows = sum(w * rows for rows, _, w in points) / weight
        mean_seconds = sum(w * seconds for _, seconds, w in points) / weight
        variance = sum(w * (rows - mean_rows) ** 2 for rows, _, w in points)
        covariance = sum(w * (rows - mean_rows) * (seconds - mean_seconds) for rows, seconds, w in points)
        if variance == 0:  # one number of rows: all of it per row, which never overstates what batching gains
            return cls(0.0, mean_seconds / mean_rows)
        slope = max(0.0, covariance / variance)
        if (fixed := mean_seconds - slope * mean_rows) >= 0:
            return cls(fixed, slope)
        through_zero = sum(w * rows * seconds for rows, seconds, w in points) / sum(w * r * r for r, _, w in points)
        return cls(0.0, through_zero)

    def seconds(self, rows: int) -> float:
        """The duration of one step."""
        return self.fixed_seconds + self.per_row_seconds * rows

    def knee(self, gain: float = KNEE_GAIN) -> int:
        """The smallest number of rows from which one more lowers t(b) / b by at most the share `gain`; at 0, the most.

        From b to b + 1 rows, a/b + c falls to a/(b + 1) + c: by the share a / ((b + 1) (a + c b)).
        """
        a, c = self.fixed_seconds, self.per_row_seconds
        rows = 1
        while rows < MOST_ROWS and (gain == 0 or a > gain * (rows + 1) * (a + c * rows)):
            rows += 1
        return rows


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """What the number of operations of a FLUX transformer depends on."""

    inner_dim: int
    blocks: int

    def step_flop(self, bucket: Bucket) -> float:
        """Floating-point operations of one row in one step.

        A token passes 12 d^2 weights per block, be it a double block (4 d^2 of attention, 8 d^2 of MLP) or a single
        one (3 d^2, 4 d^2 and 5 d^2), at two operations each; attention over n tokens adds 4 n^2 d. The embedders are
        left out: below 1 %. For FLUX.1 (d = 3072, 57 blocks) at 1024 x 1024 and 512 text tokens: 74.4e12, as torch's
        counter says.
        """
        n, d = bucket.tokens, self.inner_dim
        return self.blocks * (24.0 * d * d * n + 4.0 * n * n * d)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one worker measured at warm-up; frozen for the life of the pod.

    Attributes:
        shape: Of the transformer.
        reference: The bucket that was measured.
        step: Fitted over the measured steps of the reference bucket.
        encode_seconds: CLIP and T5 for one prompt of the reference's text length.
        decode_seconds: VAE and conversion of one image of the reference's size.
        pace: The floor of every step; None at full speed.
    """

    shape: TransformerShape
    reference: Bucket
    step: StepCurve
    encode_seconds: float
    decode_seconds: float
    pace: Pace | None = None

    def measured(self, bucket: Bucket) -> bool:
        """Whether the costs of a bucket were measured; those of all others are predicted."""
        return bucket == self.reference

    def step_seconds(self, bucket: Bucket, rows: int) -> float:
        """The duration of one step over `rows` rows of `bucket`, held by the pace."""
        scale = self.shape.step_flop(bucket) / self.shape.step_flop(self.reference)
        seconds = self.step.fixed_seconds + self.step.per_row_seconds * scale * rows
        return seconds if self.pace is None else max(seconds, self.pace.step_seconds(rows))

    def curve(self, bucket: Bucket) -> StepCurve:
        """The straight line through the durations of a bucket's steps, which a pace bends where it is the slower."""
        return StepCurve.fit((rows, self.step_seconds(bucket, rows)) for rows in WARM_ROWS)

    def prompt_seconds(self, bucket: Bucket) -> float:
        """The duration of encoding one prompt; T5's time is nearly proportional to the text length."""
        return self.encode_seconds * bucket.text_tokens / self.reference.text_tokens

    def image_seconds(self, bucket: Bucket) -> float:
        """The duration of decoding one image; the VAE is convolutional, so proportional to the pixels."""
        return self.decode_seconds * bucket.image_tokens / self.reference.image_tokens

    def work_seconds(
        self, bucket: Bucket, steps: int, *, rows: int = 1, encode: bool = True, decode: bool = True
    ) -> float:
        """What is left to do of an image, alone on the device: encoding, so many steps, decoding.

        A pair of true CFG (`rows` is 2) encodes two prompts, and its steps are the work of two rows, each alone: so
        rows that fill a device are the same work whoever they belong to, and the work of a pair is what it takes where
        a single row fits. Where two fit it takes less, as all rows do that share a forward.
        """
        work = steps * rows * self.step_seconds(bucket, 1)
        if encode:
            work += rows * self.prompt_seconds(bucket)
        return work + self.image_seconds(bucket) if decode else work


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a device's costs at some moment: a calibration, and what traffic showed beyond it.

    Attributes:
        calibration: That the factors belong to.
        steps: Factor of the steps of each bucket that has run, the latest at the end.
        encode: Factor of prompts.
        decode: Factor of images.
    """

    calibration: Calibration
    steps: tuple[tuple[Bucket, float], ...] = ()
    encode: float = 1.0
    decode: float = 1.0


@dataclass(slots=True)
class OnlineCosts:
    """A calibration and what traffic showed beyond it: one factor per bucket for steps, one each for text and images.

    Only forecasts of waiting use these: a forecast should follow the machine, the unit of work must not.
    """

    calibration: Calibration
    _steps: dict[Bucket, float] = field(default_factory=dict)
    _encode: float = 1.0
    _decode: float = 1.0

    @classmethod
    def resumed(cls, calibration: Calibration, known: Known) -> "OnlineCosts":
        """Those of a new process, from what was known of the one before.

        What steps take was learned from many, so it is kept in seconds, whatever the few at warm-up say now.
        """

        def steps(bucket: Bucket, factor: float) -> float:
            return factor * known.calibration.step_seconds(bucket, 1) / calibration.step_seconds(bucket, 1)

        before, reference = known.calibration, calibration.reference
        return cls(
            calibration,
            {bucket: _clamped(steps(bucket, factor)) for bucket, factor in known.steps[-MOST_FACTORS:]},
            _clamped(known.encode * before.prompt_seconds(reference) / calibration.prompt_seconds(reference)),
            _clamped(known.decode * before.image_seconds(reference) / calibration.image_seconds(reference)),
        )

    def known(self) -> Known:
        """What a later process may resume from."""
        return Known(self.calibration, tuple(self._steps.items()), self._encode, self._decode)

    def step_seconds(self, bucket: Bucket, rows: int) -> float:
        """As `Calibration.step_seconds`, corrected by the steps seen."""
        return self.calibration.step_seconds(bucket, rows) * self._steps.get(bucket, 1.0)

    def prompt_seconds(self, bucket: Bucket) -> float:
        """As `Calibration.prompt_seconds`, corrected by the prompts seen, of which some were in the cache."""
        return self.calibration.prompt_seconds(bucket) * self._encode

    def image_seconds(self, bucket: Bucket) -> float:
        """As `Calibration.image_seconds`, corrected by the images seen."""
        return self.calibration.image_seconds(bucket) * self._decode

    def saw_step(self, bucket: Bucket, rows: int, seconds: float) -> None:
        """Learn from one step."""
        expected = self.calibration.step_seconds(bucket, rows)
        self._steps[bucket] = _learn(self._steps.pop(bucket, 1.0), seconds, expected)
        if len(self._steps) > MOST_FACTORS:
            del self._steps[next(iter(self._steps))]

    def saw_prompt(self, bucket: Bucket, seconds: float) -> None:
        """Learn from one prompt; a hit of the cache took no time."""
        self._encode = _learn(self._encode, seconds, self.calibration.prompt_seconds(bucket))

    def saw_image(self, bucket: Bucket, seconds: float) -> None:
        """Learn from one decoded image."""
        self._decode = _learn(self._decode, seconds, self.calibration.image_seconds(bucket))


def _learn(factor: float, seconds: float, expected: float) -> float:
    return factor + _LEARNING_RATE * (_clamped(seconds / expected) - factor)


def _clamped(factor: float) -> float:
    low, high = _FACTOR_RANGE
    return min(max(factor, low), high)


def longest_request_seconds(
    calibration: Calibration, *, max_pixels: int, max_steps: int, max_images: int, text_tokens: int
) -> float:
    """Work of the longest HTTP request that the limits let through without negative prompts.

    An image's cost depends on its pixels alone. With a negative prompt it is twice that; see `admission.too_long`.
    """
    largest = Bucket(1, max_pixels // LATENT_MULTIPLE**2, text_tokens)
    return max_images * calibration.work_seconds(largest, max_steps)
