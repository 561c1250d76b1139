"""How long a denoising step takes by its rows: t(rows) = a + c rows, as each pod has measured it at warm-up."""

from dataclasses import dataclass

from fluxpool_autoscaler.observation import PodSample, finite

# The engine's own rule: it never runs more rows than that in one step, whatever the batch size.
KNEE_GAIN = 0.03


@dataclass(frozen=True, slots=True)
class ServiceCurve:
    """t(rows) = fixed_seconds + per_row_seconds x rows, neither below 0 and not both 0."""

    fixed_seconds: float
    per_row_seconds: float

    @property
    def row_share(self) -> float:
        """How much of a one-row step each further row adds: c / (a + c)."""
        return self.per_row_seconds / self.step_seconds(1)

    def step_seconds(self, rows: int) -> float:
        """t(rows)."""
        return self.fixed_seconds + self.per_row_seconds * rows

    def capacity(self, rows: int) -> float:
        """Work-seconds per second at that many rows a step: rows t(1) / t(rows)."""
        return rows * self.step_seconds(1) / self.step_seconds(rows)

    def knee(self, most: int) -> int:
        """The fewest rows from which one more lowers t(b) / b by at most `KNEE_GAIN`, up to `most`.

        From b to b + 1 rows, a/b + c falls to a/(b + 1) + c: by the share a / ((b + 1) (a + c b)).
        """
        a = self.fixed_seconds
        return next((b for b in range(1, most) if a <= KNEE_GAIN * (b + 1) * self.step_seconds(b)), most)


def curve_of(sample: PodSample) -> ServiceCurve | None:
    """The curve of a pod, None as long as it gives none."""
    fixed, per_row = finite(sample.step_fixed_seconds), finite(sample.step_per_row_seconds)
    if fixed is None or per_row is None or fixed + per_row <= 0:
        return None
    return ServiceCurve(max(fixed, 0.0), max(per_row, 0.0))
