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
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from fluxpool_inference.configuration import Pace
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
from fluxpool_inference.worker.attempts import Attempts, Failure
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.image import Image
from fluxpool_inference.worker.pacing import Clock, run_held
from fluxpool_inference.worker.prompt_stage import PromptStage

logger = logging.getLogger(__name__)


class Send(Protocol):
    """Queues a message, and pixels with it; never blocks."""

    def __call__(self, message: FromWorker, pixels: memoryview | None = None) -> None: ...  # noqa: D102


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
        prompts_together: Sequence[int] = (1,),
        decode_batch_size: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self._inbox = inbox
        self._model = model
        self._limits = limits
        self._send = send
        self._pace = pace
        self._attempts = Attempts(model, self._fail)
        self._prompts = PromptStage(model, self._attempts, prompt_cache_bytes, prompts_together)
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
                self._encode(self._prompts.sharing(unencoded))
            else:
                self._step(chosen)

    def _receive(self, message: ToWorker) -> None:
        match message:
            case Submit():
                image = self._images[message.number] = Image.of(message)
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

    def _encode(self, images: list[Image]) -> None:
        """Encode the prompts of images, several by one forward, and draw their noise. Each counts its share of it."""
        began = self._clock.now()
        for image in images:
            self._send(Started(image.number, began))
        computed = self._prompts.compute(images)
        done = self._clock.now()
        share = (done - began) / len(images)
        for image in images:
            hits = self._prompts.begin(image, computed)
            self._keep()
            since, done = done - share, self._clock.now()
            image.encode_seconds = done - began
            for hit in hits:
                self._send(Encoded(image.number, image.bucket, hit, (done - since) / len(hits)))

    def _step(self, images: list[Image]) -> None:
        forwards = Forwards.of(images, self._limits(images[0].bucket))
        failure = self._attempts.run(partial(self._run_step, images, forwards))
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
            self._attempts.run_for(image, partial(self._run_step, [image], Forwards.of([image], 1)), "denoising")

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
        outcome = self._attempts.run_for(images[0], work, "decoding") if len(images) == 1 else self._attempts.run(work)
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
