"""The result file: one part for each kind of device, with every cell and the aims."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu.aims import aims, with_derived
from benchmarks.gpu.flops import REFERENCE_TFLOP_PER_SECOND
from benchmarks.gpu.hardware import TIMED, WARM_UP
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.suite import Outcome, Status
from benchmarks.record import Part, record

RESULT = "gpu"


@dataclass(frozen=True, slots=True)
class Run:
    """What a result says of the run itself. `device` names the part."""

    scale: Scale
    machine: str
    device: str
    command: str
    versions: Mapping[str, str]


def write(run: Run, outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Record what there is. Returns the file's path."""
    part = Part(
        name=run.device,
        command=run.command,
        versions=run.versions,
        aims=aims(run.scale, run.device, outcomes),
        figures={
            "model": run.scale.name,
            "warm_up_steps": WARM_UP,
            "timed_steps": TIMED,
            "reference_tflop_per_second": REFERENCE_TFLOP_PER_SECOND,
            "cells": [asdict(outcome) for outcome in with_derived(outcomes)],
        },
        device=run.machine,
    )
    return record(RESULT, part, folder)


class OtherVersionsError(Exception):
    """The cells in the file were measured with other versions: one table must not mix them."""


def measured_before(run: Run, folder: Path) -> dict[str, Outcome]:
    """Cells that the file has of this device. Raises OtherVersionsError."""
    path = folder / f"{RESULT}.json"
    part = json.loads(path.read_text())["parts"].get(run.device) if path.exists() else None
    if part is None:
        return {}
    if part["versions"] != dict(run.versions):
        raise OtherVersionsError(f"{path} was measured with {part['versions']}, and here is {dict(run.versions)}")
    cells = [Outcome(**(cell | {"status": Status(cell["status"])})) for cell in part["figures"]["cells"]]
    return {cell.name: cell for cell in cells if cell.status is Status.MEASURED}
