"""An image in flight, as the worker knows it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fluxpool_inference.ipc.messages import Submit
from fluxpool_inference.scheduling.bucket import Bucket

if TYPE_CHECKING:  # the loop runs any model, also one without torch
    from fluxpool_inference.worker.trajectory import Trajectory


@dataclass(slots=True, eq=False)
class Image:
    """What was asked for, and how far it is. `trajectory` is there once `encoded`."""

    order: Submit
    rows: int
    reproducible: bool
    encoded: bool = False
    trajectory: "Trajectory" = field(init=False)
    encode_seconds: float = 0.0
    denoise_seconds: float = 0.0

    @classmethod
    def of(cls, order: Submit) -> "Image":
        """One of which nothing is done yet."""
        return cls(order, order.request.rows, order.request.reproducible)

    @property
    def number(self) -> int:
        """Of the HTTP process's making."""
        return self.order.number

    @property
    def bucket(self) -> Bucket:
        """What it may share a forward with."""
        return self.order.bucket

    @property
    def deadline(self) -> float:
        """When it should be done."""
        return self.order.deadline
