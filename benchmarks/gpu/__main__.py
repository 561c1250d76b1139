"""`python -m benchmarks.gpu`: measure, and record after each cell."""

import argparse
import contextlib
import importlib.util
import logging
import os
import platform
import shlex
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import diffusers
import torch

from benchmarks.gpu import BEGAN, report
from benchmarks.gpu.aims import aims
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.hardware import Hardware
from benchmarks.gpu.plan import plan
from benchmarks.gpu.scale import FULL, TINY
from benchmarks.gpu.suite import DeviceLostError, Outcome, Suite
from benchmarks.record import RESULTS

BUDGET_SECONDS = 520
GRACE_SECONDS = 70
"""How much longer than the budget a cell may take that began within it. Both together are less than ten minutes."""
_PROJECT = Path(__file__).parents[2] / "inference" / "pyproject.toml"
"""Of the engine that is measured, which need not be installed."""
_PACKAGES = ("torch", "triton", "diffusers", "transformers", "torchao", "bitsandbytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if the device was lost or a cell did not end in time, 2 if nothing can be measured."""
    options = _parser().parse_args(arguments)
    if not (options.tiny or torch.cuda.is_available()):
        return _refused("torch finds no CUDA device; --tiny rehearses everything on a CPU")
    diffusers.utils.logging.set_verbosity_error()
    logging.getLogger("torchao").setLevel(logging.ERROR)
    hardware = Hardware(torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))
    scale = TINY if options.tiny else FULL
    folder = options.out or (Path("out/gpu") if options.tiny else RESULTS)
    run = report.Run(scale, hardware.description, hardware.name, _command(arguments), _versions())
    try:
        before = report.measured_before(run, folder) if options.resume else {}
    except report.OtherVersionsError as error:
        return _refused(f"--resume: {error}")
    try:
        with _ended_in_time(options.budget_seconds):
            suite = Suite(Bench(scale, hardware), partial(report.write, run, folder=folder), _seconds)
            outcomes = suite.run(plan(scale), options.budget_seconds, before)
    except DeviceLostError as error:
        sys.stderr.write(f"the device does not work any more ({error}); start again with --resume\n")
        return 1
    _close(run, outcomes, folder)
    return 0


def _seconds() -> float:
    """Since the command was given."""
    return time.time() - BEGAN


@contextlib.contextmanager
def _ended_in_time(budget_seconds: float) -> Iterator[None]:
    """End this process if what is in here takes longer than the budget and the grace: no cell can be interrupted."""
    timer = threading.Timer(max(0.0, budget_seconds - _seconds()) + GRACE_SECONDS, _end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end() -> None:
    """At once, whatever the other threads do: what is known was recorded after the last cell."""
    sys.stderr.write("the cell in hand takes too long; what was measured before it is recorded\n")
    os._exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--budget-seconds",
        type=float,
        default=BUDGET_SECONDS,
        help="of the whole command; no cell begins after (%(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder of gpu.json and its pictures (benchmarks/results)")
    parser.add_argument("--resume", action="store_true", help="keep what the file has of this device, measure the rest")
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny model, also on a CPU; the default of --out is out/gpu"
    )
    return parser


def _refused(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 2


def _command(arguments: Sequence[str] | None) -> str:
    return shlex.join(["benchmarks/gpu/run", *(sys.argv[1:] if arguments is None else arguments)])


def _versions() -> dict[str, str]:
    """Of what takes part; what is not installed is left out."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    found = {"fluxpool": project["version"], "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def _close(run: report.Run, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Draw the plot where that is possible, and say what came out."""
    for aim in aims(run.scale, run.device, outcomes):
        print(f"{aim.name}: {aim.value} ({aim.aim})")
    counts = Counter(outcome.status for outcome in outcomes)
    print(", ".join(f"{count} cells {status}" for status, count in counts.items()))
    result = folder / f"{report.RESULT}.json"
    print(result)
    if importlib.util.find_spec("matplotlib") is None:
        print(f"no matplotlib here: python -m benchmarks.gpu.plot {result} draws the picture elsewhere")
        return
    from benchmarks.gpu.plot import draw  # noqa: PLC0415 - matplotlib is not everywhere

    for path in draw(result, folder):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
