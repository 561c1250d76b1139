import fcntl
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxpool_cluster import build, preflight, programs
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import BuildError, PreconditionError

FakeProgram = Callable[[str, str], Path]

# Answers `go env`, writes what `go build -o` asks for, counts the calls, and fails for the package named in $FAIL.
FAKE_GO = r"""
case "$1" in
env) shift; for name in "$@"; do case $name in
       GOVERSION) echo go1.99.0;; GOOS) echo linux;; GOARCH) echo amd64;; *) echo "$GO_CACHES/$name";; esac; done;;
list) echo "$GO_CACHES/kwok";;
build) while [ "$1" != -o ]; do shift; done
       echo "$3" >> "$GO_CACHES/calls"
       if [ "$3" = "$FAIL" ]; then echo "main.go:1: does not compile" >&2; exit 1; fi
       sleep "${SLOW:-0}"; echo "$3" > "$2";;
esac
"""


@pytest.fixture
def go(homes: Path, fake_program: FakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_program("go", FAKE_GO)
    fake_program("cc", 'while [ "$1" != -o ]; do shift; done; echo pause > "$2"')
    caches = tmp_path / "go"
    for name in programs.KWOK_STAGE_FILES:
        stage = caches / "kwok/kustomize/stage" / f"{name}.yaml"
        stage.parent.mkdir(parents=True, exist_ok=True)
        stage.write_text(f"name: {name}\n")
    monkeypatch.setenv("GO_CACHES", str(caches))
    monkeypatch.setattr(preflight, "_free_bytes", lambda folder: 10**12)
    return caches


def calls(go: Path) -> list[str]:
    return (go / "calls").read_text().split()


def ensure() -> tuple[Path, str]:
    stream = io.StringIO()
    return build.ensure(Console(stream)), stream.getvalue()


def test_all_programs_end_up_in_one_folder_named_by_the_key(go: Path) -> None:
    folder, said = ensure()
    assert folder.name == programs.build_key("go1.99.0", "linux/amd64")
    names = {program.name for program in programs.all_programs()} | {programs.KWOK_STAGES, programs.PAUSE}
    assert names <= {path.name for path in folder.iterdir()}
    assert "kube-apiserver (1 of 11)" in said


def test_the_stages_of_kwok_are_joined_into_one_file_of_documents(go: Path) -> None:
    folder, _ = ensure()
    text = (folder / programs.KWOK_STAGES).read_text()
    assert text.split("---\n") == [f"name: {name}\n" for name in programs.KWOK_STAGE_FILES]


def test_what_is_built_is_not_built_again(go: Path) -> None:
    ensure()
    before = calls(go)
    _, said = ensure()
    assert calls(go) == before
    assert said == ""


def test_a_failure_shows_the_last_lines_and_leaves_no_complete_folder(
    go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "go.etcd.io/etcd/server/v3")
    with pytest.raises(
        BuildError, match=r"etcd does not build; last lines of .*build\.log:\nmain\.go:1: does not compile"
    ):
        ensure()
    assert not build.binaries_folder().exists()


def test_the_next_build_goes_on_with_the_first_program_that_is_missing(
    go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "go.etcd.io/etcd/server/v3")
    with pytest.raises(BuildError):
        ensure()
    (go / "calls").unlink()
    monkeypatch.delenv("FAIL")
    ensure()
    assert calls(go)[0] == "go.etcd.io/etcd/server/v3"
    assert "k8s.io/kubernetes/cmd/kubelet" not in calls(go)


def test_a_long_build_says_how_far_it_is(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOW", "0.2")
    monkeypatch.setattr(build, "_PROGRESS_SECONDS", 0.05)
    monkeypatch.setattr(programs, "all_programs", lambda: (programs.Program("etcd", "etcd", "etcd"),))
    _, said = ensure()
    assert "etcd (1 of 1): 0 s, 0 modules fetched, 0 packages compiled" in said


def test_an_interrupted_build_leaves_no_compiler_behind(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(process: subprocess.Popen[bytes], *_: object) -> int:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setenv("SLOW", "60")
    monkeypatch.setattr(build, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure()
    assert started[0].returncode is not None


def test_whoever_comes_second_waits_and_finds_everything_built(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: threading.Event().wait(0.01))
    folder = build.binaries_folder()
    folder.parent.mkdir(parents=True)
    stream = io.StringIO()
    waiter = threading.Thread(target=lambda: build.ensure(Console(stream)))
    with (folder.parent / "build.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiter.start()
        while "waiting for another build" not in stream.getvalue():
            threading.Event().wait(0.01)
        folder.mkdir()  # the first one is done
    waiter.join()
    assert not (go / "calls").exists()


def test_too_little_room_is_refused_before_anything_is_compiled(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_free_bytes", lambda folder: 2 * 10**9)
    with pytest.raises(
        PreconditionError,
        match=r"too little room on .* for Go's caches, the cluster's programs: 2\.0 GB free, 13\.5 GB needed",
    ):
        ensure()
    assert not (go / "calls").exists()


def test_the_folder_of_modules_is_the_checkouts() -> None:
    assert sorted(path.name for path in programs.MODULES.iterdir()) == ["coredns", "etcd", "k8s", "prom"]
    assert sys.prefix not in str(programs.MODULES)
