"""What the device does next, over and over.

    inbox ─▶ take in what came ─▶ one turn: decode an image that has all its steps
                   ▲                        else encode the prompts of images that were chosen
                   └────────────────────────else run one step over the chosen rows

A turn is one thing done on the device; between any two, new images, cancellations and a new batch size are taken in.
So an image joins at the next step, a cancelled one has left by then, and no lock is held anywhere.

What fails, fails alone: a step that raises is run again image by image and row by row, and only the image that raises
then is given up. A batch that ran out of memory also lowers how many rows its bucket may have.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

from fluxpool_inference.ipc.messages import (
    Cancel,
    Encoded,
    Failed,
    Finished,
    FromWorker,
    RowsLowered,
    SetBatchSize,
    Started,
    StepDone,
    Submit,
    ToWorker,
)
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import DeadlineQueue, Forwards, choose
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.values import Pace
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.pacing import Clock, run_held
from fluxpool_inference.worker.prompts import PromptCache
from fluxpool_inference.worker.text import as_many_as, of_new_needs

if TYPE_CHECKING:
    from fluxpool_inference.worker.flux import Conditioning, Trajectory

logger = logging.getLogger(__name__)


class Send(Protocol):
    """Queues a message, and pixels with it; never blocks."""

    def __call__(self, message: FromWorker, pixels: memoryview | None = None) -> None: ...  # noqa: D102


R = TypeVar("R")


class DeviceLostError(Exception):
    """The device does not work any more; only a new process may find it well."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is to be known of an error, without the error."""

    message: str
    out_of_memory: bool


@dataclass(slots=True, eq=False)
class Image:
    """An image in flight. `trajectory` is there once `encoded`."""

    order: Submit
    rows: int
    reproducible: bool
    encoded: bool = False
    trajectory: "Trajectory" = field(init=False)
    encode_seconds: float = 0.0
    denoise_seconds: float = 0.0

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


class DeviceLoop:
    """Owns the model. Belongs to the thread of the device; `inbox` and `send` are its ties to the others."""

    def __init__(
        self,
        model: Denoiser,
        limits: RowLimits,
        send: Send,
        inbox: SimpleQueue[ToWorker],
        *,
        pace: Pace | None,
        prompt_cache_bytes: int,
        prompts_together: int = 1,
        decode_batch_size: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._inbox = inbox
        self._model = model
        self._limits = limits
        self._send = send
        self._pace = pace
        self._prompts: PromptCache[Conditioning] = PromptCache(prompt_cache_bytes)
        self._prompts_together = prompts_together
        self._decode_batch_size = decode_batch_size
        self._clock = clock or Clock()
        self._images: dict[int, Image] = {}
        self._denoising: DeadlineQueue[Image] = DeadlineQueue()
        self._to_decode: deque[Image] = deque()
        self._decoded_alone: set[Bucket] = set()

    def run(self) -> None:
        """Work until the process ends. Raises DeviceLostError."""
        while True:
            self.take_in(wait=not self._images)
            self.turn()

    def take_in(self, *, wait: bool) -> None:
        """Take in all messages that have come; if `wait`, at least one."""
        try:
            while True:
                self._receive(self._inbox.get(block=wait))
                wait = False
        except Empty:
            return

    def turn(self) -> None:
        """Do the next thing on the device, if there is any. Raises DeviceLostError."""
        if self._to_decode:
            self._decode(self._decoded_next())
        elif chosen := choose(self._denoising, self._limits):
            unencoded = [image for image in chosen if not image.encoded]
            if unencoded:
                self._encode(self._together(unencoded))
            else:
                self._step(chosen)

    def _receive(self, message: ToWorker) -> None:
        match message:
            case Submit():
                request = message.request
                image = self._images[message.number] = Image(message, request.rows, request.reproducible)
                self._denoising.add(image)
            case Cancel():
                self._forget(message.number)
            case SetBatchSize():
                self._limits.batch_size = message.rows
            case _:
                raise TypeError(f"a second {type(message).__name__}")

    def _forget(self, number: int) -> None:
        """Drop an image at whatever stage it is; nothing if it is gone already."""
        image = self._images.pop(number, None)
        if image is None:
            return
        if image in self._to_decode:
            self._to_decode.remove(image)
        else:
            self._denoising.remove(image)
        self._keep()

    def _keep(self) -> None:
        """Count what images keep on the device between their steps, with the text of each of their rows."""
        self._limits.keeps(image.bucket for image in self._images.values() if image.encoded for _ in range(image.rows))

    def _fail(self, image: Image, message: str) -> None:
        self._forget(image.number)
        self._send(Failed(image.number, message))

    def _together(self, images: list[Image]) -> list[Image]:
        """The first image, and if it needs prompts computed, others that need other ones, to share the forward."""
        tokens = images[0].bucket.text_tokens
        needs = [(image, self._prompts.missing(image.order.request.prompts, tokens)) for image in images]
        return as_many_as(of_new_needs(needs), self._prompts_together) if needs[0][1] else images[:1]

    def _encode(self, images: list[Image]) -> None:
        """Encode the prompts of images, several by one forward, and draw their noise. Each counts its share of it."""
        began = self._clock.now()
        for image in images:
            self._send(Started(image.number, began))
        computed = self._encode_together(images)
        done = self._clock.now()
        share = (done - began) / len(images)
        for image in images:
            hits = self._begin(image, computed)
            since, done = done - share, self._clock.now()
            image.encode_seconds = done - began
            for hit in hits:
                self._send(Encoded(image.number, image.bucket, hit, (done - since) / len(hits)))

    def _encode_together(self, images: list[Image]) -> "dict[str, Conditioning]":
        """The embeddings of missing prompts, but of one that is left alone, and of those of which a forward fails."""
        tokens = images[0].bucket.text_tokens
        missing = self._prompts.missing((prompt for image in images for prompt in image.order.request.prompts), tokens)
        computed: dict[str, Conditioning] = {}
        while len(together := as_many_as(missing[len(computed) :], self._prompts_together)) > 1:
            outcome = self._try(partial(self._model.encode, together, tokens))
            if isinstance(outcome, Failure):
                logger.warning("text encoding of %d prompts failed: %s", len(together), outcome.message)
                break
            computed.update(zip(together, outcome, strict=True))
        return computed

    def _begin(self, image: Image, computed: "dict[str, Conditioning]") -> list[bool]:
        """Draw an image's noise, with the embeddings of its prompts.

        Returns of each prompt whether it was remembered; nothing if the image was given up.
        """
        request, hits = image.order.request, []
        embeddings: list[Conditioning] = []
        for prompt in request.prompts:
            found = self._embedding(image, prompt, computed)
            if found is None:
                return []
            embeddings.append(found[0])
            hits.append(found[1])
        work = partial(self._model.begin, request, image.bucket, *embeddings)
        trajectory = self._attempt(image, work, "text encoding")
        if trajectory is None:
            return []
        image.trajectory = trajectory
        image.encoded = True
        self._keep()
        return hits

    def _embedding(
        self, image: Image, prompt: str, computed: "dict[str, Conditioning]"
    ) -> "tuple[Conditioning, bool] | None":
        """The embedding of a prompt, taken out of `computed`, else remembered (then True), else made alone.

        None if the image was given up.
        """
        tokens = image.bucket.text_tokens
        new = computed.pop(prompt, None)
        if new is None:
            if (remembered := self._prompts.get(prompt, tokens)) is not None:
                return remembered, True
            made = self._attempt(image, partial(self._model.encode, [prompt], tokens), "text encoding")
            if made is None:
                return None
            (new,) = made
        self._prompts.put(prompt, tokens, new)
        return new, False

    def _step(self, images: list[Image]) -> None:
        forwards = Forwards.of(images, self._limits(images[0].bucket))
        failure = self._try(partial(self._run_step, images, forwards))
        if failure is not None:
            self._isolate(images, forwards, failure)
        for image in images:
            if image.number in self._images and image.trajectory.index == image.order.request.steps:
                self._denoising.remove(image)
                self._to_decode.append(image)

    def _run_step(self, images: list[Image], forwards: Forwards) -> None:
        trajectories = [image.trajectory for image in images]
        bucket, one_by_one = images[0].bucket, forwards.number > 1
        work = partial(self._model.step, bucket, trajectories, one_by_one=one_by_one)
        held = run_held(work, forwards, self._pace, self._clock)
        for image in images:
            image.denoise_seconds += held.seconds
        self._send(StepDone(tuple(image.number for image in images), bucket, forwards, held.seconds, held.overran))

    def _isolate(self, images: list[Image], forwards: Forwards, failure: Failure) -> None:
        """Run a failed step again, image by image and row by row, and give up only the images that fail alone."""
        logger.warning("a step over %d rows failed: %s", forwards.number * forwards.rows, failure.message)
        if len(images) == 1 and not failure.out_of_memory:
            self._fail(images[0], f"denoising failed: {failure.message}")
            return
        if forwards.rows > 1 and failure.out_of_memory:
            bucket, held = images[0].bucket, forwards.rows // 2
            self._limits.lower(bucket, held)
            self._send(RowsLowered(bucket, held))
        for image in images:
            self._attempt(image, partial(self._run_step, [image], Forwards.of([image], 1)), "denoising")

    def _decoded_next(self) -> list[Image]:
        """The first image that has all its steps, with others of its size as far as one call may decode them."""
        first = self._to_decode[0]
        if first.reproducible or first.bucket in self._decoded_alone:
            return [first]
        alike = [image for image in self._to_decode if image.bucket == first.bucket and not image.reproducible]
        return alike[: self._decode_batch_size]

    def _decode(self, images: list[Image]) -> None:
        """Decode images of one size by one call, or each alone if that fails. Each counts its share of the time."""
        bucket, began = images[0].bucket, self._clock.now()
        work = partial(self._model.decode, bucket, [image.trajectory for image in images])
        outcome = self._attempt(images[0], work, "decoding") if len(images) == 1 else self._try(work)
        if isinstance(outcome, Failure):
            logger.warning("decoding of %d images failed: %s", len(images), outcome.message)
            if outcome.out_of_memory:
                self._decoded_alone.add(bucket)
            for image in images:
                self._decode([image])
        elif outcome is not None:
            share = (self._clock.now() - began) / len(images)
            for image, pixels in zip(images, outcome, strict=True):
                self._finish(image, pixels, share)

    def _finish(self, image: Image, pixels: memoryview, decode_seconds: float) -> None:
        negative = image.trajectory.negative
        self._forget(image.number)
        self._send(
            Finished(
                number=image.number,
                bucket=image.bucket,
                encode_seconds=image.encode_seconds,
                denoise_seconds=image.denoise_seconds,
                decode_seconds=decode_seconds,
                truncated_tokens=image.trajectory.conditioning.truncated_tokens,
                negative_truncated_tokens=negative.truncated_tokens if negative else 0,
            ),
            pixels,
        )

    def _attempt(self, image: Image, work: Callable[[], R], what: str) -> R | None:
        """Do something for one image alone, and give it up if that fails (for want of memory: if it fails twice)."""
        outcome = self._try(work)
        if isinstance(outcome, Failure) and outcome.out_of_memory:
            outcome = self._try(work)
        if isinstance(outcome, Failure):
            logger.warning("image %d: %s failed: %s", image.number, what, outcome.message)
            self._fail(image, f"{what} failed: {outcome.message}")
            return None
        return outcome

    def _try(self, work: Callable[[], R]) -> R | Failure:
        """What `work` returns, or why it failed, with room made on the device. Raises DeviceLostError."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - whatever a model raises fails an image, and not the process
            failure = Failure(str(error), self._model.is_out_of_memory(error))
        # Strictly after the handler: until then the error's traceback keeps the tensors of all its frames.
        if not self._model.recover():
            raise DeviceLostError(failure.message)
        return failure
