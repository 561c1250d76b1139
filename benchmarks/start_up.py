"""How long a server takes from its start until it serves, beside what importing its libraries takes anyway.

inference/.venv/bin/python benchmarks/start_up.py [--rounds 10] [--record]

Each round, in fresh processes, one after the other: the imports alone (torch, and of diffusers and transformers the
classes that the server needs, without what they would import for quantized weights); a server with a tiny random model
and an empty cache, from its start to the first 200 of `/readyz`; and one with the cache that the former left, as a pod
that is restarted has it. What counts is the difference within a round, for a machine's speed changes from minute to
minute.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import httpx
from launch import free_port, inherited
from prometheus_client.parser import text_string_to_metric_families
from record import Aim, Part, at_most, record, reported

from fluxpool_inference.contract import METRIC_START_STAGE, PATH_METRICS, PATH_READY, START_STAGES
from fluxpool_inference.tiny_model import write_tiny_model

IMPORTS = """
import sys
sys.modules |= dict.fromkeys(["bitsandbytes", "gguf", "torchao"])  # as the server does, which does not use them here
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast
print("imported", flush=True)
"""
OPTIONS = {
    "FLUXPOOL_DEVICE": "cpu",
    "FLUXPOOL_DTYPE": "float32",
    "FLUXPOOL_MAX_PIXELS": str(256 * 256),
    "FLUXPOOL_DEFAULT_SIZE": "64x64",
    "FLUXPOOL_MIN_SIDE": "64",
    "FLUXPOOL_HOST": "127.0.0.1",
    "FLUXPOOL_DRAIN_SECONDS": "3600",
    "FLUXPOOL_LOG_LEVEL": "warning",
}
LONGEST_SECONDS = 300
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Start:
    """One start of a server, in seconds.

    Attributes:
        ready: Until `/readyz` was 200.
        answering: Until it was answered at all.
        stages: Of `contract.START_STAGES`, as its metrics tell them.
    """

    ready: float
    answering: float
    stages: dict[str, float]


@dataclass(frozen=True)
class Round:
    """The imports alone, in seconds, and both starts."""

    imports: float
    first: Start
    again: Start


def import_seconds() -> float:
    """A fresh interpreter, from its start until the imports are done; its end does not count."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE) as python:
        if python.stdout is None or not python.stdout.readline():
            raise RuntimeError("the imports failed")
        return time.monotonic() - began


def start_seconds(model: Path, cache: Path) -> Start:
    """A server, from its start until it is ready; it is ended then, and leaves in `cache` what it knows."""
    port = free_port()
    own = {"FLUXPOOL_MODEL": str(model), "FLUXPOOL_CACHE_DIR": str(cache), "FLUXPOOL_PORT": str(port)}
    began = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, "-m", "fluxpool_inference", "serve"], env=inherited() | OPTIONS | own | {"HF_HUB_OFFLINE": "1"}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            answering = _until(http, server, began, httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE)
            ready = _until(http, server, began, httpx.codes.OK)
            return Start(ready, answering, stages_of(http.get(PATH_METRICS).text))
    finally:
        server.terminate()
        server.wait()


def stages_of(metrics: str) -> dict[str, float]:
    """Seconds by stage, from the text of `/metrics`."""
    families = text_string_to_metric_families(metrics)
    samples = [sample for family in families if family.name == METRIC_START_STAGE for sample in family.samples]
    return {sample.labels["stage"]: sample.value for sample in samples}


def _until(http: httpx.Client, server: "subprocess.Popen[bytes]", began: float, *codes: int) -> float:
    """Seconds from `began` until `/readyz` answers with one of the codes. Raises RuntimeError if it never does."""
    while (now := time.monotonic() - began) < LONGEST_SECONDS and server.poll() is None:
        try:
            if http.get(PATH_READY).status_code in codes:
                return time.monotonic() - began
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"the server is not ready after {now:.0f} s (exit code {server.poll()})")


def aims(rounds: Sequence[Round]) -> list[Aim]:
    """The figures of all rounds: medians, and of the aim the median of the differences within each round."""

    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 3)

    over = median([each.first.ready - each.imports for each in rounds])
    figures = [
        at_most("start_up_over_imports_seconds", 3, over),
        reported(
            "the same for a start that knows what its steps cost", median([r.again.ready - r.imports for r in rounds])
        ),
        reported("seconds of the imports alone, median", median([each.imports for each in rounds])),
        reported("seconds from start to ready, median", median([each.first.ready for each in rounds])),
        reported(
            "seconds from start to the first answer of a probe, median", median([r.first.answering for r in rounds])
        ),
    ]
    for stage in START_STAGES:
        seconds = [each.first.stages[stage] for each in rounds]
        if any(seconds):
            figures.append(reported(f"seconds of the stage {stage}, median", median(seconds)))
    known = median([each.again.stages["warm_up"] for each in rounds])
    return [*figures, reported("seconds of the stage warm_up where costs are known, median", known)]


def measure(model: Path, caches: Path, rounds: int) -> list[Round]:
    """So many rounds, after one of each kind that does not count: it fills the machine's caches of files."""
    measured = []
    for number in range(rounds + 1):
        cache = caches / str(number)
        measured.append(Round(import_seconds(), start_seconds(model, cache), start_seconds(model, cache)))
        print(f"round {number}: {measured[-1]}", flush=True)
    return measured[1:]


def main() -> None:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/start_up.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, caches = Path(folder, "model"), Path(folder, "caches")
        model.mkdir()
        write_tiny_model(model)
        rounds = measure(model, caches, options.rounds)
    found = aims(rounds)
    for aim in found:
        print(f"{aim.name}: {aim.value}")
    if options.record:
        command = f"inference/.venv/bin/python benchmarks/start_up.py --rounds {options.rounds}"
        versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "fluxpool-inference")}
        differences = [round(each.first.ready - each.imports, 3) for each in rounds]
        print(record("start_up", Part("start-up", command, versions, found, {"over_imports_seconds": differences})))


if __name__ == "__main__":
    main()
