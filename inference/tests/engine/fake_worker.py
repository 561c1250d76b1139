"""`python -m fake_worker DESCRIPTOR`: a worker process as it is, but for a model that needs no torch.

The configured model is a folder. Its `model.json` sets fields of the `FakeModel`, a `device_uuid`, with `calibrated_at`
which share of the true step times its calibration says, and with `room_bytes` the room of a device on which a step
takes 10 bytes per token, decoding 10 per pixel, and an image in flight 1 per token; each start adds its process id to
`starts`. A file `start` says what becomes of the next starts, one line each: `refused`, `death`, `exit`, `hang`, `ok`.
Where there are several workers, each has a file of its own: `start.0`, `start.1`, …
"""

import dataclasses
import json
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

from fake_model import INFO, FakeModel

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.cost_file import cost_file
from fluxpool_inference.outcomes import StartError, StartFailure
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, StepCurve
from fluxpool_inference.scheduling.memory import Memory, PeakLine
from fluxpool_inference.worker import __main__ as worker
from fluxpool_inference.worker.pacing import Clock
from fluxpool_inference.worker.stages import Stages
from fluxpool_inference.worker.warm_up import WarmUp

REFUSAL = StartError(StartFailure.DEVICE_UNAVAILABLE, "the device is on holiday")


def start(config: EngineConfig, stages: Stages) -> Any:
    """In place of `fluxpool_inference.worker.start.start`."""
    home = Path(config.model)
    with (home / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    _obey(home / ("start" if config.workers == 1 else f"start.{os.environ['CUDA_VISIBLE_DEVICES']}"))
    options = json.loads((home / "model.json").read_text())
    device_uuid = options.pop("device_uuid", None)
    calibrated_at = options.pop("calibrated_at", 1.0)
    room_bytes = options.pop("room_bytes", None)
    info = dataclasses.replace(INFO, name=config.model, guidance_embeds=options.pop("guidance_embeds", True))
    model = FakeModel(Clock(), info, **options)
    bucket = Bucket.of_size(config.default_width, config.default_height, info.max_sequence_length)
    calibration = Calibration(
        shape=model.shape,
        reference=bucket,
        step=StepCurve(calibrated_at * model.fixed_seconds, calibrated_at * model.per_row_seconds),
        encode_seconds=model.encode_seconds,
        decode_seconds=model.decode_seconds,
        pace=config.pace,
    )
    memory = None
    if room_bytes is not None:
        memory = Memory(bucket, PeakLine(0.0, 10.0), 0, 10 * bucket.pixels, 1.0, 1.0, room_bytes=room_bytes)
    file = cost_file("fake", config)
    return types.SimpleNamespace(
        model=model,
        warm=WarmUp(calibration, None, memory=memory),
        device_uuid=device_uuid,
        hardware="fake",
        known=file.read() if file else None,
    )


def _obey(orders: Path) -> None:
    if not orders.exists():
        return
    now, *later = orders.read_text().split()
    if later:
        orders.write_text("\n".join(later))
    else:
        orders.unlink()
    if now == "refused":
        raise REFUSAL
    if now == "death":
        os.kill(os.getpid(), signal.SIGKILL)
    if now == "exit":
        raise ImportError("a library is not installed")
    if now == "hang":
        time.sleep(3600)


if __name__ == "__main__":
    module = types.ModuleType("fluxpool_inference.worker.start")
    module.start = start  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    sys.exit(worker.main())
