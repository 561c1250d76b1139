import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fluxpool_cluster import processes
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import StartError
from fluxpool_cluster.processes import Component, ProcessTable

ENVIRONMENT = (("PATH", "/usr/bin:/bin"),)


def sleeper(name: str = "sleeper", script: str = "exec sleep 60") -> Component:
    return Component(name, ("sh", "-c", script), ENVIRONMENT)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    table = ProcessTable(tmp_path / "records", tmp_path / "logs")
    yield table
    for process in table.all():
        if process.alive():
            os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)


def quiet() -> Console:
    return Console(io.StringIO())


def test_a_started_process_is_found_again_by_another_command(table: ProcessTable) -> None:
    started = table.spawn(sleeper())
    assert table.all() == [started]
    assert table.get("sleeper") == started
    assert table.alive("sleeper")


def test_a_process_lives_in_its_own_session_so_that_the_terminal_cannot_end_it(table: ProcessTable) -> None:
    started = table.spawn(sleeper())
    assert os.getsid(started.pid) == started.pid


def test_a_process_does_not_keep_what_its_starter_had_open(table: ProcessTable, tmp_path: Path) -> None:
    held = os.open(tmp_path / "a lock of whoever called us", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(held, True)
    try:
        started = table.spawn(sleeper())
        opened = [link.readlink().name for link in Path(f"/proc/{started.pid}/fd").iterdir()]
    finally:
        os.close(held)
    assert "a lock of whoever called us" not in opened
    assert len(opened) >= 3


def test_a_reused_number_is_not_taken_for_the_process(table: ProcessTable) -> None:
    started = table.spawn(sleeper())
    assert not replace(started, start_ticks=started.start_ticks - 1).alive()
    assert not replace(started, boot_id="before the last boot").alive()


def test_a_process_that_nobody_has_collected_yet_counts_as_ended(table: ProcessTable) -> None:
    started = table.spawn(sleeper())
    os.kill(started.pid, signal.SIGKILL)
    os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert processes.start_ticks(started.pid) is None
    assert not started.alive()


def test_a_number_that_nobody_has_is_no_process() -> None:
    assert processes.start_ticks(2**22 + 1) is None
    assert processes.resident_bytes(2**22 + 1) == 0


def test_a_name_with_blanks_and_brackets_does_not_confuse_the_start_time(tmp_path: Path) -> None:
    program = tmp_path / "a ) R 1 (b"
    program.symlink_to(sys.executable)
    code = "import time; print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([program, "-I", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = processes.start_ticks(process.pid)
        process.kill()
    own = processes.start_ticks(os.getpid())
    assert ticks is not None
    assert own is not None
    assert ticks >= own


def test_stop_ends_those_it_is_asked_for_and_no_other(table: ProcessTable) -> None:
    table.spawn(sleeper("one"))
    table.spawn(sleeper("two"))
    assert table.stop(["one"]) == []
    assert not table.alive("one")
    assert table.alive("two")


def test_a_process_that_ignores_term_is_killed_and_named(table: ProcessTable) -> None:
    table.spawn(sleeper("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    table.wait("deaf is up", "deaf", lambda: table.tail("deaf") == "up", quiet())
    assert table.stop(["deaf"], grace_seconds=0.1) == ["deaf"]
    assert not table.alive("deaf")


def test_stop_of_what_has_ended_already_is_fine(table: ProcessTable) -> None:
    table.spawn(sleeper("short", "exit 0"))
    while table.alive("short"):
        pass
    assert table.stop(["short", "never-started"]) == []


def test_output_and_errors_go_to_one_log_which_a_restart_appends_to(table: ProcessTable) -> None:
    for word in ("first", "second"):
        started = table.spawn(sleeper("talker", f"echo {word}; echo {word} error >&2"))
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        if word == "first":
            os.waitpid(started.pid, 0)
    assert table.tail("talker") == "first\nfirst error\nsecond\nsecond error"
    assert table.tail("talker", 1) == "second error"


def test_the_environment_is_only_what_was_given(table: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    table.spawn(sleeper("env", "env; exec sleep 60"))
    table.wait("env has printed", "env", lambda: "PATH=" in table.tail("env", 50), quiet())
    assert "PROXY" not in table.tail("env", 50)


def test_a_failed_start_shows_the_last_lines_of_the_log(table: ProcessTable) -> None:
    table.spawn(sleeper("broken", "for i in $(seq 30); do echo line $i; done; echo no such flag >&2; exit 2"))
    with pytest.raises(StartError) as error:
        table.wait("broken answers", "broken", lambda: False, quiet())
    assert "broken ended while waiting for: broken answers" in error.value.message
    assert str(table.log("broken")) in error.value.message
    assert error.value.message.endswith("line 30\nno such flag")
    assert "line 10\n" not in error.value.message


def test_a_start_that_takes_too_long_fails_as_well(table: ProcessTable) -> None:
    table.spawn(sleeper("slow", "echo starting; exec sleep 60"))
    table.wait("it speaks", "slow", lambda: table.tail("slow") == "starting", quiet())
    with pytest.raises(StartError, match=r"slow is not ready after 0 s(.|\n)*starting"):
        table.wait("slow answers", "slow", lambda: False, quiet(), timeout_seconds=0)


def test_a_refused_connection_only_means_not_ready_yet(table: ProcessTable) -> None:
    failures: list[OSError] = [ConnectionRefusedError(), TimeoutError()]

    def ready() -> bool:
        if failures:
            raise failures.pop()
        return True

    table.spawn(sleeper())
    stream = io.StringIO()
    table.wait("sleeper answers", "sleeper", ready, Console(stream))
    assert "sleeper answers" in stream.getvalue()
