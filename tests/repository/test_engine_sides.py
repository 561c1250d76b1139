"""The sides of the comparison: how they are started, known to be ready and asked, here with peers that only pretend."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "benchmarks"), str(TOP / "benchmarks" / "engine")]

import compare  # noqa: E402 - after the path
from comparison import processes, sides  # noqa: E402
from comparison.cells import (  # noqa: E402
    BARE,
    CELLS,
    LOCK,
    MAX_QUEUE_SECONDS,
    OURS,
    PACE,
    PEERS,
    POOL,
    bursts,
    kind,
)
from comparison.sides import Setup  # noqa: E402

from fluxpool_bench.client import Outcome  # noqa: E402
from fluxpool_bench.session import Closed  # noqa: E402
from fluxpool_bench.workload import Workload  # noqa: E402
from fluxpool_demo.record import Pacing  # noqa: E402

SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Images(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        known = self.path == "/metrics"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(os.environ.get("PACED", "").encode())

    def do_POST(self):
        Images.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/v1/images/generations" and {"prompt", "size", "num_inference_steps", "seed"} <= set(body)
        self.send_response(200 if known and Images.asked > 1 else 500)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"b64_json": "x"}]}).encode())

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PEER_PORT"])), Images).serve_forever()
"""
LOOP = """
import json, os, sys
print("ready", flush=True)
for line in sys.stdin:
    bodies = json.loads(line)["bodies"]
    print(json.dumps({"seconds": len(bodies) / int(os.environ["PEER_ROWS"])}), flush=True)
"""
PACED = {"steps": 120, "overruns": 3}
REQUESTS = Workload([kind("64x64", 4)], seed=1).draw(6)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    cpus = frozenset(os.sched_getaffinity(0))
    return Setup(tmp_path / "model", rows=4, threads=1, device_cpus=cpus, host_cpus=cpus)


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Peers are scripts of the standard library. What is put into the list is ended."""
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "broken.py").write_text("raise SystemExit('no model here')")
    (tmp_path / "loop.py").write_text(LOOP)
    monkeypatch.setattr(sides, "HERE", tmp_path)
    monkeypatch.setattr(sides, "_python", lambda project: sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    named = {"mosec": ("", "server.py"), "LitServe": ("", "broken.py"), BARE: ("", "loop")}
    monkeypatch.setattr(sides, "_PEERS", named)
    started: list[Any] = []
    yield started
    for side in started:
        if side._process.poll() is None:
            processes.end(side.pid)
            side._process.wait()


async def test_a_server_is_ready_once_it_has_made_an_image_and_carries_loads(
    pretended: list[Any], setup: Setup, tmp_path: Path
) -> None:
    side = sides.start("mosec", setup, tmp_path)
    pretended.append(side)
    await side.ready()  # the first request fails
    for load in (Closed(2), bursts(2, 3, 0.01)):
        records = await side.run(load, REQUESTS)
        assert [record.outcome for record in records] == [Outcome.OK] * 6


@pytest.mark.parametrize("named", [True, False])
async def test_paced_steps_are_those_that_a_server_counted(
    pretended: list[Any], setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    counted = [f'fluxpool_pace_{name}_total{{namespace="a"}} {value}' for name, value in PACED.items()]
    monkeypatch.setenv("PACED", "".join(f"{line}\n" for line in counted) if named else "")
    side = sides.start("mosec", setup, tmp_path)
    pretended.append(side)
    await side.ready()
    assert await side.pacing() == (Pacing(**PACED) if named else Pacing())


async def test_a_server_that_does_not_start_is_told_with_its_log(
    pretended: list[Any], setup: Setup, tmp_path: Path
) -> None:
    side = sides.start("LitServe", setup, tmp_path)
    pretended.append(side)
    with pytest.raises(RuntimeError, match=r"LitServe.log says why this server did not start"):
        await side.ready()
    assert "no model here" in side.log.read_text()


async def test_all_images_of_the_bare_loop_have_the_time_of_the_whole(
    pretended: list[Any], setup: Setup, tmp_path: Path
) -> None:
    side = sides.start(BARE, setup, tmp_path)
    pretended.append(side)
    await side.ready()
    records = await side.run(Closed(8), REQUESTS)
    assert [(record.latency, record.outcome) for record in records] == [(1.5, Outcome.OK)] * 6


def test_sides_differ_in_nothing_that_a_cell_has_in_common(setup: Setup) -> None:
    ours = sides._our_options(setup, port=1)
    theirs = {name: sides._peer_options(name, setup, port=1) for name in PEERS}
    for name, options in theirs.items():
        assert options["PEER_ROWS"] == ours["FLUXPOOL_BATCH_SIZE"] == "4", name
        assert options["PEER_MODEL"] == ours["FLUXPOOL_MODEL"], name
        assert options["PEER_THREADS"] == ours["FLUXPOOL_TORCH_THREADS"] == "1", name
        assert options["PEER_TEXT_TOKENS"] == ours["FLUXPOOL_MAX_SEQUENCE_LENGTH"] == "32", name
    assert {name for name, options in theirs.items() if options["PEER_PIPELINES"] != "1"} == {POOL}
    assert LOCK in theirs


def test_our_longest_wait_is_another_in_the_overload_alone(setup: Setup) -> None:
    name = "FLUXPOOL_MAX_QUEUE_SECONDS"
    flooded = Setup(setup.model, 4, 1, setup.device_cpus, setup.host_cpus, overload=True)
    assert name not in sides._our_options(setup, port=1)
    assert sides._our_options(flooded, port=1)[name] == str(MAX_QUEUE_SECONDS)


def test_steps_are_held_where_a_cell_says_so(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_model", Path)
    assert "FLUXPOOL_PACE" not in sides._our_options(setup, port=1)
    (paced,) = (cell for cell in CELLS if cell.pace is not None)
    of_the_cell = compare._setup(paced, compare._options([]))
    assert of_the_cell == replace(compare._setup(replace(paced, pace=None), compare._options([])), pace=PACE)
    assert sides._our_options(of_the_cell, port=1)["FLUXPOOL_PACE"] == PACE
    assert paced.describe()["model"] == "tiny paced, 0.28 M parameters"
    assert paced.sides == (OURS,)


def test_every_peer_that_is_compared_can_be_started() -> None:
    assert set(sides._PEERS) == {*PEERS, BARE}
    assert OURS not in sides._PEERS
    for folder, script in sides._PEERS.values():
        name = f"src/{script.replace('.', '/')}.py" if folder == "peers/kit" else script
        assert (sides.HERE / folder / name).exists()
