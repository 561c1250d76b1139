"""A DeviceLoop in this process, driven turn by turn."""

from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from fluxpool_inference.configuration import Pace
from fluxpool_inference.ipc.messages import Cancel, Failed, Finished, FromWorker, SetBatchSize, Submit
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, StepCurve, TransformerShape
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import ImageRequest, TrueCfg
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.loop import DeviceLoop
from fluxpool_inference.worker.pacing import Clock

TEXT_TOKENS = 32
NO_KNEE = Calibration(
    TransformerShape(64, 2), Bucket(4, 4, TEXT_TOKENS), StepCurve(1000.0, 0.001), encode_seconds=0.1, decode_seconds=0.1
)
"""Steps that cost nearly the same whatever is in them: only the batch size bounds the rows."""

M = TypeVar("M")


class VirtualTime:
    """Passes when someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Bench:
    """The loop, what it was given and what it said; pixels by number."""

    def __init__(
        self,
        model: Denoiser,
        *,
        batch_size: int = 8,
        clock: Clock | None = None,
        pace: Pace | None = None,
        prompt_cache_bytes: int = 2**20,
        prompts_together: int | Sequence[int] = 1,
        decode_batch_size: int = 1,
    ) -> None:
        self._inbox: SimpleQueue[object] = SimpleQueue()
        self.limits = RowLimits(NO_KNEE, batch_size)
        self.loop = DeviceLoop(
            model,
            self.limits,
            self._hear,
            self._inbox,
            pace=pace,
            prompt_cache_bytes=prompt_cache_bytes,
            prompts_together=range(1, prompts_together + 1) if isinstance(prompts_together, int) else prompts_together,
            decode_batch_size=decode_batch_size,
            clock=clock,
        )
        self.said: list[FromWorker] = []
        self.pixels: dict[int, memoryview] = {}
        self._in_flight: set[int] = set()
        self._last = 0

    def _hear(self, message: FromWorker, pixels: memoryview | None = None) -> None:
        self.said.append(message)
        if isinstance(message, Finished | Failed):
            self._in_flight.remove(message.number)
        if isinstance(message, Finished):
            assert pixels is not None
            self.pixels[message.number] = pixels

    def submit(self, request: ImageRequest, *, deadline: float | None = None) -> int:
        """Returns the image's number, which is also its deadline unless another is given."""
        self._last += 1
        bucket = Bucket.of(request, TEXT_TOKENS)
        self._inbox.put(Submit(self._last, request, bucket, self._last if deadline is None else deadline))
        self._in_flight.add(self._last)
        return self._last

    def cancel(self, number: int) -> None:
        self._inbox.put(Cancel(number))
        self._in_flight.discard(number)

    def set_batch_size(self, rows: int) -> None:
        self._inbox.put(SetBatchSize(rows))

    def turn(self) -> list[FromWorker]:
        """What the loop says in its next turn."""
        before = len(self.said)
        self.loop.take_in(wait=False)
        self.loop.turn()
        return self.said[before:]

    def turns(self) -> Iterator[list[FromWorker]]:
        """Turn until all that was submitted has ended."""
        while self._in_flight:
            yield self.turn()

    def finish(self) -> None:
        for _ in self.turns():
            pass
        assert self.turn() == [], "nothing is left to do"

    def until(self, kind: type[M], number: int) -> M:
        """Turn until the loop has said this of this image."""
        while True:
            for message in self.turn():
                if isinstance(message, kind) and is_about(message, number):
                    return message

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.said if isinstance(message, kind)]

    def outcome(self, number: int) -> Finished | Failed | None:
        ended = [said for said in self.said if isinstance(said, Finished | Failed) and said.number == number]
        assert len(ended) <= 1, "an image ends once"
        return ended[0] if ended else None


def is_about(message: FromWorker, number: int) -> bool:
    return number in getattr(message, "numbers", (getattr(message, "number", None),))


def image(
    prompt: str = "a tree", *, seed: int = 1, steps: int = 4, width: int = 64, height: int = 64, **more: Any
) -> ImageRequest:
    return ImageRequest(prompt, width, height, steps, **({"guidance": None} | more), seed=seed)


def pair(prompt: str = "a tree", *, negative: str = "a leaf", scale: float = 3.3, **more: Any) -> ImageRequest:
    """An image with true CFG. The scale has no exact form in bfloat16."""
    return image(prompt, true_cfg=TrueCfg(negative, scale), **more)
