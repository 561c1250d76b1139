"""A model without torch. Its stages take a set time; its prompts say what goes wrong, and where.

`KIND at STAGE`, where KIND is `error`, `oom`, `oom once`, `loss` (of the device), `death` (of the process) or
`hang`, and STAGE is `encode`, `begin`, `step N` (counted from 0) or `decode`. Any other prompt goes well.
"""

import os
import re
import signal
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import TransformerShape
from fluxpool_inference.values import ImageRequest, ModelInfo
from fluxpool_inference.worker.pacing import Clock

FAULT = re.compile(r"(error|oom once|oom|loss|death|hang) at (encode|begin|step \d+|decode)")
INFO = ModelInfo("fake", "flux-dev", True, 3.5, 28, 32, "float32", "cpu", 1000)


@dataclass(frozen=True, slots=True)
class Text:
    """An encoded prompt; every word but the first eight is cut off."""

    prompt: str
    size_bytes: int = 100
    company: int = 1

    @property
    def truncated_tokens(self) -> int:
        return max(0, len(self.prompt.split()) - 8)

    def equals(self, other: "Text") -> bool:
        return self == other


@dataclass(slots=True, eq=False)
class Path:
    """An image under way."""

    request: ImageRequest
    conditioning: Text
    negative: Text | None = None
    index: int = 0
    latent_bytes: int = 48

    @property
    def rows(self) -> int:
        return 1 if self.negative is None else 2


class Activations:
    """What a step keeps on the device while it runs."""


@dataclass
class FakeModel:
    """`rows_held` is how many rows its memory holds at once. `steps` are the seeds of the rows of each forward.

    In numbers that are not in `exact_together` prompts are encoded a little differently; `encodings` are all numbers.
    `decoded` are the seeds of the images of each decoding.
    """

    clock: Clock
    info: ModelInfo = INFO
    encode_seconds: float = 0.05
    fixed_seconds: float = 0.4
    per_row_seconds: float = 0.1
    decode_seconds: float = 0.2
    rows_held: int = 1000
    shape: TransformerShape = field(default_factory=lambda: TransformerShape(64, 2))
    steps: list[list[int]] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)
    encodings: list[int] = field(default_factory=list)
    decoded: list[list[int]] = field(default_factory=list)
    exact_together: Container[int] = range(1, 9)
    recoveries: int = 0
    _lost: bool = False
    _gone_wrong: set[str] = field(default_factory=set)

    def encode(self, prompts: Sequence[str], text_tokens: int) -> list[Text]:
        self.encodings.append(len(prompts))
        for prompt in prompts:
            self._work(0.0, "encode", prompt)
        self.clock.sleep(self.encode_seconds)
        self.encoded += prompts
        company = 1 if len(prompts) in self.exact_together else len(prompts)
        return [Text(prompt, company=company) for prompt in prompts]

    def begin(self, request: ImageRequest, bucket: Bucket, conditioning: Text, negative: Text | None = None) -> Path:
        assert (conditioning.prompt, *([negative.prompt] if negative else [])) == request.prompts
        self._work(0.0, "begin", request.prompt)
        return Path(request, conditioning, negative)

    def step(self, bucket: Bucket, images: Sequence[Path], *, one_by_one: bool = False) -> None:
        rows = [image for image in images for _ in range(image.rows)]
        for forward in [[row] for row in rows] if one_by_one else [rows]:
            self._forward(forward)
        for image in images:
            image.index += 1

    def _forward(self, rows: Sequence[Path]) -> None:
        self.steps.append([row.request.seed for row in rows])
        activations = Activations()  # kept alive by the traceback of what is raised from here on
        if len(rows) > self.rows_held:
            raise MemoryError(f"{len(rows)} rows", id(activations))
        seconds = self.fixed_seconds + self.per_row_seconds * len(rows)
        for row in rows:
            self._work(0.0, f"step {row.index}", row.request.prompt)
        self.clock.sleep(seconds)

    def decode(self, bucket: Bucket, images: Sequence[Path]) -> list[memoryview]:
        self.decoded.append([image.request.seed for image in images])
        for image in images:
            self._work(0.0, "decode", image.request.prompt)
        self.clock.sleep(self.decode_seconds)
        return [memoryview(picture(image.request)) for image in images]

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def recover(self) -> bool:
        self.recoveries += 1
        return not self._lost

    def _work(self, seconds: float, stage: str, prompt: str) -> None:
        fault = FAULT.fullmatch(prompt)
        if fault and fault[2] == stage:
            self._go_wrong(fault[1], prompt)
        self.clock.sleep(seconds)

    def _go_wrong(self, kind: str, prompt: str) -> None:
        if kind == "error":
            raise ValueError("a planted error")
        if kind == "oom" or (kind == "oom once" and prompt not in self._gone_wrong):
            self._gone_wrong.add(prompt)
            raise MemoryError("a planted want of memory")
        if kind == "loss":
            self._lost = True
            raise RuntimeError("a planted loss")
        if kind == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            self.clock.sleep(3600)


def picture(request: ImageRequest) -> bytes:
    """The pixels that the fake model makes: one colour, of the seed and the number of steps."""
    return bytes((request.seed % 256, request.steps % 256, 7)) * (request.width * request.height)
