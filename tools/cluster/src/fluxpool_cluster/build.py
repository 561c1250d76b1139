"""Builds the programs, once per user: into a folder of the cache that is named by all that decides their content.

A build goes into a `.partial` folder beside it, which is renamed when it is complete; what an interrupted build had
finished is kept there, so that the next one goes on with the first program that is missing.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fluxpool_cluster import layout, preflight, programs, shell
from fluxpool_cluster.console import Console
from fluxpool_cluster.errors import BuildError
from fluxpool_cluster.preflight import Room
from fluxpool_cluster.programs import Program

_PROGRESS_SECONDS = 15
_GIGABYTE = 10**9


def binaries_folder() -> Path:
    """The folder where this checkout's binaries are, or will be.

    Raises:
        PreconditionError: there is no Go, or it is too old.
    """
    toolchain = preflight.require_go(programs.required_go())
    return layout.cache_folder() / programs.build_key(toolchain.version, toolchain.architecture)


def ensure(console: Console) -> Path:
    """Return the folder of the binaries, and build first what is missing; about 12 minutes from nothing on two cores.

    Raises:
        PreconditionError: no Go, no C compiler, or no room on the disk.
        BuildError: a program does not compile; the message ends with the last lines of the build log.
    """
    folder = binaries_folder()
    if folder.is_dir():
        return folder
    preflight.require_programs(preflight.BUILD_PROGRAMS)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_build(folder.parent / "build.lock", console):
        if not folder.is_dir():
            _build(folder, console)
    return folder


def _build(folder: Path, console: Console) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    wanted = programs.all_programs()
    missing = [program for program in wanted if not (partial / program.name).exists()]
    if missing:
        preflight.require_rooms(_rooms(folder))
    console.say(f"building {len(missing)} of {len(wanted)} programs into {folder} (log: {partial / 'build.log'})")
    for number, program in enumerate(missing, start=1):
        _build_program(program, partial, f"{program.name} ({number} of {len(missing)})", console)
    _join_kwok_stages(partial / programs.KWOK_STAGES)
    _build_pause(partial / programs.PAUSE)
    partial.rename(folder)
    console.say(f"all programs are in {folder}")


def rooms() -> list[Room]:
    """What a build still needs on the disk; nothing where all is built.

    Raises:
        PreconditionError: there is no Go, or it is too old.
    """
    folder = binaries_folder()
    return [] if folder.is_dir() else _rooms(folder)


def _rooms(folder: Path) -> list[Room]:
    """Go's caches need 12 GB for everything; when Kubernetes' sources are there already, that is mostly spent."""
    names = ("GOMODCACHE", "GOCACHE")
    sources, objects = (Path(line) for line in shell.run("go", "env", *names, folder="/").splitlines())
    version = programs.module_version("k8s", "k8s.io/kubernetes")
    warm = (sources / f"k8s.io/kubernetes@{version}").is_dir()
    return [
        Room(objects, (3 if warm else 12) * _GIGABYTE, "Go's caches"),
        Room(folder.parent, int(1.5 * _GIGABYTE), "the cluster's programs"),
    ]


def _build_program(program: Program, partial: Path, title: str, console: Console) -> None:
    unfinished = partial / f".{program.name}"
    started = time.monotonic()
    with (partial / "build.log").open("ab") as log:
        offset = log.tell()
        console.say(f"{title}: started")
        process = subprocess.Popen(
            program.build_command(unfinished),
            cwd=programs.MODULES / program.module,
            env={**os.environ, **programs.BUILD_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            status = _wait(process, Path(log.name), offset, title, console)
        finally:
            _end(process)
    if status:
        lines = "\n".join(_lines(partial / "build.log", offset)[-15:])
        raise BuildError(f"{program.name} does not build; last lines of {partial / 'build.log'}:\n{lines}")
    unfinished.rename(partial / program.name)
    console.say(f"{title}: {time.monotonic() - started:.0f} s")


def _wait(process: subprocess.Popen[bytes], log: Path, offset: int, title: str, console: Console) -> int:
    """Wait for the compiler; say every few seconds how far it is. `go build -v` writes one line per package."""
    started = time.monotonic()
    while True:
        try:
            return process.wait(_PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            lines = _lines(log, offset)
            fetched = sum(line.startswith("go: ") for line in lines)
            console.say(
                f"{title}: {time.monotonic() - started:.0f} s, {fetched} modules fetched, "
                f"{len(lines) - fetched} packages compiled"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def _lines(log: Path, offset: int) -> list[str]:
    return log.read_bytes()[offset:].decode(errors="replace").splitlines()


def _join_kwok_stages(target: Path) -> None:
    command = ("go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok")
    environment = {**os.environ, **programs.BUILD_ENVIRONMENT}
    module = shell.run(*command, environment=environment, folder=str(programs.MODULES / "k8s")).strip()
    stages = [Path(module, "kustomize/stage", f"{name}.yaml") for name in programs.KWOK_STAGE_FILES]
    target.write_text("---\n".join(stage.read_text(encoding="utf-8") for stage in stages), encoding="utf-8")


def _build_pause(target: Path) -> None:
    shell.run("cc", "-static", "-Os", "-s", "-x", "c", "-", "-o", target, stdin=programs.PAUSE_SOURCE.encode())


@contextmanager
def _only_build(path: Path, console: Console) -> Iterator[None]:
    """One build at a time per cache; whoever comes second waits, since it wants the same result."""
    with path.open("ab") as lock:
        started = time.monotonic()
        said = 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
                if not said or waited - said >= _PROGRESS_SECONDS:
                    console.say(f"waiting for another build on this machine ({waited:.0f} s)")
                    said = waited or 1e-9
                time.sleep(1)
        yield
