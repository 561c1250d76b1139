"""The command line, from a copy of the files that are carried to a GPU machine."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__, collect
from benchmarks.gpu.plan import plan
from benchmarks.gpu.scale import TINY
from benchmarks.gpu.suite import DeviceLostError, Outcome, Status

TOP = Path(__file__).parents[3]


WHEEL = "diffusers-1-py3-none-any.whl"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources, and a wheel."""
    for name in collect.SOURCES:
        source, copy = TOP / name, tmp_path / "here" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    (tmp_path / "here" / collect.WHEELS).mkdir(parents=True)
    (tmp_path / "here" / collect.WHEELS / WHEEL).write_bytes(b"x")
    return tmp_path / "here"


@pytest.fixture
def machine(checkout: Path, tmp_path: Path) -> Path:
    """A folder where the packed file was unpacked."""
    with tarfile.open(collect.pack(checkout)) as tar:
        tar.extractall(tmp_path / "machine", filter="data")
    return tmp_path / "machine"


def run(machine: Path, *arguments: str, python: Path = Path(sys.executable)) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHON": str(python), "CUDA_VISIBLE_DEVICES": ""}
    command = [str(machine / "benchmarks" / "gpu" / "run"), *arguments]
    return subprocess.run(command, cwd=machine, env=environment, capture_output=True, text=True, check=False)


def test_what_is_carried_is_enough_to_run(machine: Path) -> None:
    shutil.rmtree(machine / collect.WHEELS)  # what is in them is installed here
    ran = run(machine, "--tiny", "--budget-seconds", "0")
    assert ran.returncode == 0, ran.stderr
    part = json.loads((machine / "out" / "gpu" / "gpu.json").read_text())["parts"]["CPU"]
    assert part["command"] == "benchmarks/gpu/run --tiny --budget-seconds 0"
    assert part["versions"].keys() >= {"fluxpool", "torch", "diffusers"}
    assert {cell["status"] for cell in part["figures"]["cells"]} == {"no time left"}
    assert f"{len(plan(TINY))} cells no time left" in ran.stdout


def test_a_machine_that_got_no_packages_is_told_where_they_come_from(machine: Path) -> None:
    shutil.rmtree(machine / collect.WHEELS)
    python = machine / "python"
    python.write_text("#!/bin/sh\nexit 1\n")  # as if there were no diffusers
    python.chmod(0o755)
    ran = run(machine, python=python)
    assert ran.returncode == 2
    assert "benchmarks.gpu.collect" in ran.stderr


def test_wheels_and_no_tests_are_carried(machine: Path) -> None:
    assert (machine / collect.WHEELS / WHEEL).exists()
    assert not list(machine.rglob("tests"))
    assert not list(machine.rglob("__pycache__"))


def test_more_than_the_limit_is_not_packed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "LIMIT_BYTES", 2**10)
    with pytest.raises(collect.TooLargeError, match=r"MiB of wheels and source"):
        collect.pack(checkout)
    assert not list(checkout.rglob("*.tar"))


def test_a_machine_that_has_a_package_gets_no_wheel_of_it() -> None:
    every = {line.partition("==")[0] for line in collect.wanted([])}
    assert {"diffusers", "torchao", "bitsandbytes"} <= every
    assert {line.partition("==")[0] for line in collect.wanted(["pillow", "requests"])} == every - {
        "pillow",
        "requests",
    }


def test_the_diffusers_that_is_carried_is_the_one_that_the_engine_is_locked_to() -> None:
    lock = tomllib.loads((TOP / "inference" / "uv.lock").read_text())
    (locked,) = [package["version"] for package in lock["package"] if package["name"] == "diffusers"]
    assert f"diffusers=={locked}" in collect.wanted([])


def test_a_machine_without_a_gpu_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert __main__.main([]) == 2
    assert capsys.readouterr().err == "torch finds no CUDA device; --tiny rehearses everything on a CPU\n"


class FakeSuite:
    """In place of a suite: notes what it is told, and then does something else."""

    def __init__(self, does: Any) -> None:
        self._does = does
        self.budget_seconds = 0.0

    def __call__(self, bench: Any, record: Any, clock: Any) -> Any:
        self.record, self.clock = record, clock
        return self

    def run(self, cells: Any, budget_seconds: float, before: Any) -> list[Outcome]:
        self.budget_seconds = budget_seconds
        outcomes: list[Outcome] = self._does(self)
        return outcomes


def test_a_lost_device_is_told_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(suite: FakeSuite) -> list[Outcome]:
        suite.record([Outcome("bad", Status.FAILED, reason="illegal access")])
        raise DeviceLostError("illegal access")

    monkeypatch.setattr(__main__, "Suite", FakeSuite(lose))
    assert __main__.main(["--tiny", "--out", str(tmp_path)]) == 1
    lost = "the device does not work any more (illegal access); start again with --resume\n"
    assert capsys.readouterr().err == lost
    (cell,) = json.loads((tmp_path / "gpu.json").read_text())["parts"]["CPU"]["figures"]["cells"]
    assert cell["reason"] == "illegal access"


def test_a_budget_counts_from_the_command_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "BEGAN", time.time() - 1000)
    seconds: list[float] = []

    def note(suite: FakeSuite) -> list[Outcome]:
        seconds.append(suite.clock())
        return []

    monkeypatch.setattr(__main__, "Suite", FakeSuite(note))
    assert __main__.main(["--tiny", "--out", str(tmp_path)]) == 0
    assert seconds[0] >= 1000


def test_a_cell_that_does_not_end_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    def hang(suite: FakeSuite) -> list[Outcome]:
        assert ended.wait(timeout=60)
        return []

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(__main__, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(__main__, "Suite", FakeSuite(hang))
    __main__.main(["--tiny", "--out", str(tmp_path), "--budget-seconds", "0"])
    assert codes == [1]


def test_a_run_that_ends_in_time_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[Any] = []
    timer = threading.Timer

    def noted(*arguments: Any) -> Any:
        began.append(timer(*arguments))
        return began[-1]

    monkeypatch.setattr(threading, "Timer", noted)
    monkeypatch.setattr(__main__, "Suite", FakeSuite(lambda suite: []))
    __main__.main(["--tiny", "--out", str(tmp_path), "--budget-seconds", "5"])
    (one,) = began
    one.join(timeout=60)
    assert one.finished.is_set()
    assert __main__.GRACE_SECONDS <= one.interval <= __main__.GRACE_SECONDS + 5
    assert __main__.BUDGET_SECONDS + __main__.GRACE_SECONDS < 600


def test_the_script_counts_what_it_installs(machine: Path) -> None:
    shutil.rmtree(machine / collect.WHEELS)
    python = machine / "python"
    python.write_text('#!/bin/sh\necho "$BENCHMARKS_GPU_BEGAN"\n')  # of each of its calls
    python.chmod(0o755)
    before = time.time()
    asked, measured = (float(line) for line in run(machine, python=python).stdout.split())
    assert before - 1 <= asked == measured <= time.time() + 1


def test_a_result_of_other_versions_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--tiny", "--out", str(tmp_path), "--budget-seconds", "0"]
    assert __main__.main(options) == 0
    path = tmp_path / "gpu.json"
    path.write_text(path.read_text().replace('"python": "3', '"python": "2'))
    assert __main__.main([*options, "--resume"]) == 2
    assert "was measured with" in capsys.readouterr().err
