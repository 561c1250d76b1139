"""The termination message: why this pod cannot start, where Kubernetes and the operator look for it."""

import json
import logging
from pathlib import Path

from fluxpool_inference.engine import StartError

MAX_MESSAGE_BYTES = 1500
"""The kubelet keeps 4096 bytes of a termination message; a cut JSON line would be none."""

logger = logging.getLogger(__name__)


def write(path: Path, error: StartError) -> None:
    """Write `{"reason", "message"}` as one JSON line into the file `path`; do nothing where it does not exist."""
    if not path.exists():
        return
    message = error.message.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")
    line = json.dumps({"reason": error.reason.value, "message": message}, ensure_ascii=False)
    try:
        path.write_text(line + "\n", encoding="utf-8")
    except OSError as problem:
        logger.warning("the termination message could not be written: %s", problem)
