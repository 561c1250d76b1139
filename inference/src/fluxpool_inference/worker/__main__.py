"""`python -m fluxpool_inference.worker DESCRIPTOR`: one device's process, talking over an inherited socket.

Nothing outlives the socket: when the HTTP process is gone, however it went, this one exits at once, in whatever it is
doing. torch and diffusers are imported after the configuration has come, so that the threads are set before torch
starts any.
"""

import logging
import os
import socket
import sys
import time
from queue import SimpleQueue

from fluxpool_inference import log
from fluxpool_inference.configuration import QUANTIZE_LIBRARIES, EngineConfig
from fluxpool_inference.ipc.link import Link
from fluxpool_inference.ipc.messages import Configure, NotStarted, Ready, ToWorker
from fluxpool_inference.outcomes import StartError
from fluxpool_inference.process_start import started_at
from fluxpool_inference.scheduling.limits import RowLimits
from fluxpool_inference.worker.stages import Stages

EXIT_NOT_STARTED = 3
EXIT_DEVICE_LOST = 4

logger = logging.getLogger(__name__)


def main() -> int:
    """Live as one worker; return the exit code, unless the socket's end ends the process before."""
    end = socket.socket(fileno=int(sys.argv[1]))
    end.set_inheritable(False)  # a child that kept it open would hide our end
    inbox: SimpleQueue[ToWorker] = SimpleQueue()
    link = Link(end, inbox.put, on_closed=lambda: os._exit(0))
    configure = inbox.get()
    if not isinstance(configure, Configure):
        raise TypeError(f"{type(configure).__name__} before Configure")
    _quieten(configure.config)
    _hide_what_is_not_used(configure.config)
    try:
        return _serve(configure, inbox, link)
    except StartError as error:
        link.send(NotStarted(error.reason, error.message))
        link.flush()
        return EXIT_NOT_STARTED


def _quieten(config: EngineConfig) -> None:
    """Our lines only, and all in one format: libraries write to stderr past it, as early as they are imported."""
    log.configure(config.log_format, config.log_level)
    logging.captureWarnings(capture=True)
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # of what torchao does on import


def _hide_what_is_not_used(config: EngineConfig) -> None:
    """Keep libraries out that diffusers and transformers import wherever they are installed, which takes time."""
    for library in filter(None, set(QUANTIZE_LIBRARIES.values()) - {config.quantize.library}):
        sys.modules.setdefault(library, None)  # type: ignore[arg-type]  # the import system's word for: not there


def _serve(configure: Configure, inbox: SimpleQueue[ToWorker], link: Link) -> int:
    # Here, because these import torch: for seconds, in which the socket is already being watched.
    from fluxpool_inference.worker.attempts import DeviceLostError  # noqa: PLC0415
    from fluxpool_inference.worker.loop import DeviceLoop  # noqa: PLC0415
    from fluxpool_inference.worker.start import start  # noqa: PLC0415

    config, stages = configure.config, Stages()
    stages.seconds["process"] = max(0.0, started_at() - configure.since)
    stages.seconds["import"] = time.monotonic() - started_at()
    started = start(config, stages)
    warm = started.warm
    limits = RowLimits(warm.calibration, config.batch_size, warm.rows_held, warm.memory, config.knee_gain)
    loop = DeviceLoop(
        started.model,
        limits,
        link.send,
        inbox,
        pace=config.pace,
        prompt_cache_bytes=config.prompt_cache_bytes,
        prompts_together=warm.prompts_together,
        decode_batch_size=config.decode_batch_size,
    )
    link.send(
        Ready(
            started.model.info,
            warm.calibration,
            warm.rows_held,
            started.device_uuid,
            started.hardware,
            started.known,
            stages.seconds,
            memory=warm.memory,
            graphs=warm.graphs,
        )
    )
    try:
        loop.run()
    except DeviceLostError:
        logger.exception("the device is lost")
        link.flush()
    return EXIT_DEVICE_LOST


if __name__ == "__main__":
    sys.exit(main())
