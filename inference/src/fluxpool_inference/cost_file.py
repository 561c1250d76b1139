"""What a device's steps cost, kept in a folder, so that a restarted server need not learn it again.

One small JSON file for each combination of device, model, precision and whatever else of the configuration moves the
speed: a worker reads it when it starts, the HTTP process writes it. A file that cannot be read, or is of something
else, is ignored with one line in the log and written anew.
"""

import contextlib
import hashlib
import json
import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, Known
from fluxpool_inference.version import VERSION

logger = logging.getLogger(__name__)

_WITHOUT_EFFECT = frozenset(
    {
        *("batch_size", "batch_size_min", "drain_seconds", "max_images", "max_pixels", "max_queue_seconds"),
        *("max_steps", "max_waiting", "prompt_cache_bytes", "watchdog_seconds"),
        *("cache_dir", "compile_cache", "log_format", "log_level", "token"),
    }
)
"""Options that change no duration. Any other is taken to change all, so that a new one errs on the safe side."""

Factor = Annotated[float, Field(gt=0)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    about: dict[str, object]
    calibration: Calibration
    steps: list[tuple[Bucket, Factor]]
    encode: Factor
    decode: Factor


def cost_file(device: str, config: EngineConfig) -> "CostFile | None":
    """The file of this configuration on a kind of device; None where no folder for it is configured."""
    return CostFile(Path(config.cache_dir), device, config) if config.cache_dir else None


class CostFile:
    """The file of one device, model and configuration. It need not exist. Never raises for what is on disk.

    Others may write it at the same time, from other pods on a shared volume: the last one counts. What this process
    writes, it writes in order.
    """

    def __init__(self, folder: Path, device: str, config: EngineConfig) -> None:
        options = {name: value for name, value in asdict(config).items() if name not in _WITHOUT_EFFECT}
        self._about: Mapping[str, object] = {"hardware": device, "version": VERSION, **options}
        digest = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()
        self._path = folder / f"costs-{digest[:16]}.json"
        self._writable = True
        self._writing = threading.Lock()

    def read(self) -> Known | None:
        """What was known; None if nothing was, or what is there makes no sense."""
        try:
            file = _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = error if isinstance(error, OSError) else error.errors(include_url=False)[0]["msg"]
            logger.warning("the costs in %s are ignored: %s", self._path, reason)
            return None
        known = Known(file.calibration, tuple(file.steps), file.encode, file.decode)
        if file.about != self._about or not _plausible(known):
            logger.warning("the costs in %s are ignored: they are of something else", self._path)
            return None
        return known

    def write(self, known: Known) -> None:
        """Put the file in place at once, whole. Where that cannot be done, one line says so, once.

        May take as long as the volume does, so not for the event loop's thread.
        """
        text = json.dumps({"about": self._about, **asdict(known)})
        with self._writing:
            if not self._writable:
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                _replace(self._path, text)
            except OSError as error:
                self._writable = False
                logger.warning("the costs cannot be kept in %s: %s", self._path.parent, error)


def _replace(path: Path, text: str) -> None:
    """Strictly by a draft with a random name: the process ids of pods are alike, and their users may not be.

    `tempfile` would make one that only its own user can read.
    """
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _plausible(known: Known) -> bool:
    """Whether all durations are above 0, so that they can be divided by."""
    calibration = known.calibration
    shape, buckets = calibration.shape, [calibration.reference, *(bucket for bucket, _ in known.steps)]
    counts = [shape.inner_dim, shape.blocks]
    for bucket in buckets:
        counts += [bucket.height, bucket.width, bucket.text_tokens]
    if min(counts) <= 0:
        return False
    seconds = [calibration.encode_seconds, calibration.decode_seconds, calibration.step.per_row_seconds]
    return min(seconds) > 0 and calibration.step.fixed_seconds >= 0
