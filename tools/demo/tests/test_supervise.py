import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxpool_cluster import layout
from fluxpool_demo import supervise

FAKE_CLUSTER = """
import os, signal, sys, time
with open(os.environ["CALLS"], "a") as calls:
    print(*sys.argv[1:], file=calls)
verb = sys.argv[1]
try:
    if verb == os.environ.get("HANGS"):
        open(os.environ["CALLS"] + ".hangs", "w").close()
        time.sleep(60)
except KeyboardInterrupt:
    with open(os.environ["CALLS"], "a") as calls:
        print(verb, "was interrupted", file=calls)
    sys.exit(130)
sys.exit(int(os.environ.get(verb.upper() + "_STATUS", "0")))
"""
RUN_IT = "import sys; from fluxpool_demo import supervise; {}; sys.exit(supervise.run(['make demo'], keep={}))"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for fluxpool-cluster notes how it was called."""
    (tmp_path / "cluster.py").write_text(FAKE_CLUSTER)
    monkeypatch.setattr(supervise, "CLUSTER", (sys.executable, str(tmp_path / "cluster.py")))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("CLUSTER", raising=False)
    return tmp_path / "calls"


def is_up() -> None:
    summary = layout.Layout(layout.state_folder()).summary
    summary.parent.mkdir(parents=True)
    summary.touch()


def run(calls: Path, *, keep: bool = False) -> tuple[int, list[str]]:
    """The exit status, and the calls without the player's own options."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = supervise.run(["make demo"], keep=keep)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status, calls.read_text().splitlines()


def test_a_cluster_that_the_demo_started_is_stopped_whatever_the_end(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_STATUS", "1")
    status, [up, play, down] = run(calls)
    assert status == 1
    assert up == "up --layer node --gpus 4"
    assert "--tidy" not in play
    assert down == "down"


def test_in_a_cluster_that_was_up_only_pool_and_chart_are_taken_away(calls: Path) -> None:
    is_up()
    status, [_, play] = run(calls)
    assert status == 0
    assert play.endswith("--tidy")


def test_keep_leaves_cluster_chart_and_pool(calls: Path) -> None:
    _, [_, play] = run(calls, keep=True)
    assert play.endswith("--keep")
    assert "--tidy" not in play


def test_the_users_own_cluster_is_neither_started_nor_stopped(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "current")
    _, [play] = run(calls)
    assert play.startswith("run -- ")
    assert play.endswith("--tidy")


def test_a_cluster_that_does_not_start_is_left_for_a_look(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_STATUS", "1")
    assert run(calls) == (1, ["up --layer node --gpus 4"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verb", ["up", "run"])
@pytest.mark.parametrize("start", ["pass", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"])
def test_an_interrupt_reaches_what_runs_and_then_the_cluster_is_stopped(
    calls: Path, monkeypatch: pytest.MonkeyPatch, verb: str, number: signal.Signals, start: str
) -> None:
    monkeypatch.setenv("HANGS", verb)
    preamble = f"{start}; supervise.CLUSTER = {supervise.CLUSTER!r}"
    process = subprocess.Popen([sys.executable, "-c", RUN_IT.format(preamble, False)], env=dict(os.environ))
    deadline = time.monotonic() + 30
    while not Path(f"{calls}.hangs").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    try:
        assert process.wait(timeout=30) == supervise.INTERRUPTED
    finally:
        process.kill()
    assert calls.read_text().splitlines()[-2:] == [f"{verb} was interrupted", "down"]
