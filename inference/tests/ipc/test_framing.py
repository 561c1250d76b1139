"""Frames: whatever the pieces in which they come, the same messages leave."""

import dataclasses
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpool_inference.configuration import EngineConfig, Pace
from fluxpool_inference.ipc.framing import (
    MAX_FRAME_BYTES,
    BrokenFrameError,
    Frames,
    frame_from_worker,
    frame_to_worker,
)
from fluxpool_inference.ipc.messages import (
    FROM_WORKER,
    TO_WORKER,
    Cancel,
    Configure,
    Encoded,
    Failed,
    Finished,
    FromWorker,
    NotStarted,
    Ready,
    RowsLowered,
    SetBatchSize,
    Started,
    StepDone,
    Submit,
    ToWorker,
)
from fluxpool_inference.outcomes import StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.choice import Forwards
from fluxpool_inference.scheduling.costs import Calibration, Known, StepCurve, TransformerShape
from fluxpool_inference.scheduling.memory import Memory, PeakLine
from fluxpool_inference.values import GraphTiming, ImageRequest, ModelInfo, Priority, TrueCfg

BUCKET = Bucket(4, 6, 32)
REQUEST = ImageRequest('"quotes", \0 nul\nand 🐴', 96, 64, 4, 3.5, 2**64 - 1, priority=Priority.LOW)
INFO = ModelInfo("m", "flux-dev", True, 3.5, 28, 512, "bfloat16", "cuda:0", 12_000_000_000)
CALIBRATION = Calibration(TransformerShape(64, 2), BUCKET, StepCurve(0.1, 1e-9), 0.25, 0.5, Pace(0.1, 0.2))
MEMORY = Memory(BUCKET, PeakLine(1.5, 2.5), 1000, 2000, 128.0, 8192.0, tile_pixels=1024, room_bytes=10**11)
GRAPHS = (GraphTiming(1, 1, 0.5, 0.25, kept=True), GraphTiming(2, 2, problem="no"))
TO: list[ToWorker] = [
    Configure(EngineConfig("m", token="hf_x", pace=Pace(0.5, 0.25), max_sequence_length=64), 1.25),
    Configure(EngineConfig("m"), 0.0),
    Submit(7, REQUEST, BUCKET, 123456.789012345),
    Submit(8, dataclasses.replace(REQUEST, true_cfg=TrueCfg("", 3.3)), BUCKET, 1.5),
    Cancel(7),
    SetBatchSize(3),
]
FROM: list[FromWorker] = [
    Ready(
        INFO,
        CALIBRATION,
        4,
        "GPU-1",
        "NVIDIA H200",
        Known(CALIBRATION, ((BUCKET, 1.5),), 0.5),
        {"load": 1.5},
        memory=MEMORY,
        graphs=GRAPHS,
    ),
    Ready(
        dataclasses.replace(INFO, default_guidance=None),
        dataclasses.replace(CALIBRATION, pace=None),
        None,
        None,
        "cpu",
        None,
        {},
    ),
    NotStarted(StartFailure.DEVICE_UNAVAILABLE, "no"),
    Started(7, 1.25),
    Encoded(7, BUCKET, True, 0.0),
    StepDone((7, 8), BUCKET, Forwards(1, 3), 0.5, None),
    StepDone((), BUCKET, Forwards(2, 1), 0.5, True),
    Finished(7, BUCKET, 0.1, 0.2, 0.3, 4, 5),
    Failed(7, "a\nb"),
    RowsLowered(BUCKET, 1),
]


def payload(frame: bytes) -> bytes:
    (only,) = Frames().feed(frame)
    return only


@pytest.mark.parametrize("message", TO, ids=lambda message: message.kind)
def test_what_is_said_to_the_worker_arrives_equal(message: ToWorker) -> None:
    assert TO_WORKER.validate_json(payload(frame_to_worker(message))) == message


@pytest.mark.parametrize("message", FROM, ids=lambda message: message.kind)
def test_what_the_worker_says_arrives_equal(message: FromWorker) -> None:
    assert FROM_WORKER.validate_json(payload(frame_from_worker(message))) == message


def test_these_were_all_kinds_of_message() -> None:
    assert {type(message) for message in TO} == set(ToWorker.__args__)
    assert {type(message) for message in FROM} == set(FromWorker.__args__)


def test_a_moment_keeps_every_bit() -> None:
    moment = 98765.43210987654
    arrived = TO_WORKER.validate_json(payload(frame_to_worker(Submit(1, REQUEST, BUCKET, moment))))
    assert isinstance(arrived, Submit)
    assert arrived.deadline == moment


def test_a_message_of_no_known_kind_is_refused() -> None:
    for adapter in (TO_WORKER, FROM_WORKER):
        with pytest.raises(ValueError, match="kind"):
            adapter.validate_json(json.dumps({"kind": "gossip", "number": 1}))


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 9), min_size=1))
def test_any_pieces_give_the_same_payloads(payloads: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(struct.pack(">I", len(content)) + content for content in payloads)
    frames, found, turn = Frames(), [], 0
    while stream:
        size = sizes[turn % len(sizes)]
        found += frames.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert found == payloads


def test_a_length_that_no_message_has_breaks_the_stream() -> None:
    frames = Frames()
    assert frames.feed(struct.pack(">I", MAX_FRAME_BYTES)) == []
    with pytest.raises(BrokenFrameError):
        Frames().feed(struct.pack(">I", MAX_FRAME_BYTES + 1))


def test_the_longest_prompts_that_the_settings_allow_fit_into_a_frame() -> None:
    longest = "\0" * 1_000_000
    request = dataclasses.replace(REQUEST, prompt=longest, true_cfg=TrueCfg(longest, 3.3))
    assert len(frame_to_worker(Submit(1, request, BUCKET, 0.0))) < MAX_FRAME_BYTES
