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
from fluxpool_inference.ipc.link import Link
from fluxpool_inference.ipc.messages import Configure, NotStarted, Ready, ToWorker
from fluxpool_inference.values import EngineConfig, StartError

EXIT_NOT_STARTED = 3
EXIT_DEVICE_LOST = 4

logger = logging.getLogger(__name__)


def main() -> int:
    """Live as one worker; return the exit code, unless the socket's end ends the process before."""
    began = time.monotonic()
    end = socket.socket(fileno=int(sys.argv[1]))
    inbox: SimpleQueue[ToWorker] = SimpleQueue()
    link = Link(end, inbox.put, on_closed=lambda: os._exit(0))
    configure = inbox.get()
    if not isinstance(configure, Configure):
        raise TypeError(f"{type(configure).__name__} before Configure")
    log.configure(configure.config.log_format, configure.config.log_level)
    try:
        return _serve(configure.config, inbox, link, began)
    except StartError as error:
        link.send(NotStarted(error.reason, error.message))
        link.flush()
        return EXIT_NOT_STARTED


def _serve(config: EngineConfig, inbox: SimpleQueue[ToWorker], link: Link, began: float) -> int:
    # Here, because these import torch: for seconds, in which the socket is already being watched.
    from fluxpool_inference.worker.loop import DeviceLoop, DeviceLostError  # noqa: PLC0415
    from fluxpool_inference.worker.start import start  # noqa: PLC0415

    imported = time.monotonic()
    started = start(config)
    stages = {"import": imported - began, **started.stages}
    loop = DeviceLoop(
        started.model,
        started.warm.calibration,
        link.send,
        inbox,
        batch_size=config.batch_size,
        prompt_cache_bytes=config.prompt_cache_bytes,
    )
    link.send(Ready(started.model.info, started.warm.calibration, started.device_uuid, stages))
    if started.warm.rows_held is not None:
        loop.limit_rows(started.warm.calibration.reference, started.warm.rows_held)
    try:
        loop.run()
    except DeviceLostError:
        logger.exception("the device is lost")
        link.flush()
    return EXIT_DEVICE_LOST


if __name__ == "__main__":
    sys.exit(main())
