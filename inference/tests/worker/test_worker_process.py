"""The worker's process by its own command line, as far as it goes without a model."""

import dataclasses
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from bench import NO_KNEE
from fake_model import INFO

from fluxpool_inference.configuration import EngineConfig, Pace, Quantize
from fluxpool_inference.ipc.framing import Frames, frame_to_worker
from fluxpool_inference.ipc.messages import FROM_WORKER, Configure, FromWorker, NotStarted, Ready, SetBatchSize
from fluxpool_inference.outcomes import StartFailure
from fluxpool_inference.scheduling.costs import StepCurve
from fluxpool_inference.worker import loop, start
from fluxpool_inference.worker.__main__ import EXIT_DEVICE_LOST, EXIT_NOT_STARTED, _hide_what_is_not_used, _serve
from fluxpool_inference.worker.attempts import DeviceLostError
from fluxpool_inference.worker.warm_up import WarmUp


class Process:
    """One worker and our end of its line."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(120)
        with theirs:
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-m", "fluxpool_inference.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )

    def hear(self) -> list[FromWorker]:
        """All that it says until it hangs up."""
        frames, heard = Frames(), []
        while data := self.ours.recv(65536):
            heard += [FROM_WORKER.validate_json(payload) for payload in frames.feed(data)]
        return heard


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.ours.close()
    process.child.kill()
    process.child.communicate()


def test_a_line_that_ends_before_anything_was_said_ends_it_quietly(process: Process) -> None:
    process.ours.close()
    assert process.child.wait(60) == 0
    assert process.child.stderr is not None
    assert process.child.stderr.read() == ""


def test_anything_but_a_configuration_at_first_is_an_error(process: Process) -> None:
    process.ours.sendall(frame_to_worker(SetBatchSize(3)))
    assert process.child.wait(60) == 1
    assert process.child.stderr is not None
    assert "SetBatchSize before Configure" in process.child.stderr.read()


@pytest.fixture
def imports_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each import is a line on stderr."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")


@pytest.mark.usefixtures("imports_told")
def test_a_model_that_is_not_there_is_said_and_told_by_the_exit_code_and_no_library_is_imported_in_vain(
    process: Process,
) -> None:
    process.ours.sendall(frame_to_worker(Configure(EngineConfig("/nowhere/flux", device="cpu", threads=1), 0.0)))
    _, told = process.child.communicate(timeout=120)
    assert process.hear() == [NotStarted(StartFailure.MODEL_LOAD_FAILED, "model '/nowhere/flux' is no directory")]
    assert process.child.returncode == EXIT_NOT_STARTED
    lines = told.splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == []
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert {"diffusers", "torch", "transformers"} <= imported
    assert not imported & {"bitsandbytes", "gguf", "torchao"}, "of other forms of weights than the configured one"


def test_libraries_of_other_forms_of_weights_are_not_there_for_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    for library in ("bitsandbytes", "gguf", "torchao"):
        sys.modules.pop(library, None)
    _hide_what_is_not_used(EngineConfig("m", quantize=Quantize("gguf", "file")))
    assert importlib.util.find_spec("torchao") is None
    assert importlib.util.find_spec("bitsandbytes") is None
    assert importlib.util.find_spec("gguf") is not None


def test_what_was_configured_and_what_was_found_out_at_the_start_reach_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []

    class Loop:
        def __init__(self, model: object, limits: object, send: object, inbox: object, **options: Any) -> None:
            made.append({"limits": limits, **options})

        def run(self) -> None:
            raise DeviceLostError("it ends here")

    curve = StepCurve(0.013, 0.0196)  # whose knee is at 4 rows, and at 8 for a gain of 1 %
    warm = WarmUp(dataclasses.replace(NO_KNEE, step=curve), None, prompts_together=(1, 2, 4))
    found = SimpleNamespace(model=SimpleNamespace(info=INFO), warm=warm, device_uuid=None, hardware="fake", known=None)
    monkeypatch.setattr(start, "start", lambda *_: found)
    monkeypatch.setattr(loop, "DeviceLoop", Loop)
    pace = Pace(0.5, 0.25)
    config = EngineConfig("m", batch_size=32, knee_gain=0.01, pace=pace, prompt_cache_bytes=77, decode_batch_size=3)
    said: list[object] = []
    link: Any = SimpleNamespace(send=said.append, flush=lambda: None)
    assert _serve(Configure(config, 0.0), SimpleQueue(), link) == EXIT_DEVICE_LOST
    assert [type(message) for message in said] == [Ready]
    (options,) = made
    assert options.pop("limits")(NO_KNEE.reference) == 8
    assert options == {
        "pace": pace, "prompt_cache_bytes": 77, "prompts_together": (1, 2, 4), "decode_batch_size": 3,
    }  # fmt: skip
