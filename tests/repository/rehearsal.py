"""Rehearses the build of an image without a container engine: every instruction, in an overlay over this machine.

    cd tests && .venv/bin/python -m repository.rehearsal ../inference/Containerfile --version

The base image is this machine's root without the folders of people, and this interpreter's Python under /usr/local, as
in the official Python images. Stages are overlays on it, so that paths are those of the image. The result runs as in a
pod: as the image's user, on a read-only root file system, with a /tmp. Needs root, Linux, and a package index.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Final

from repository.containerfile import Ignore, Instruction, read

TOP: Final = Path(__file__).parents[2]
HIDDEN: Final = ("root", "home", "work", "tmp", "opt", "build", "usr/local")
"""What a base image would not have."""
CACHE: Final = Path.home() / ".cache" / "uv"
PASSED: Final = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "HTTPS_PROXY", "https_proxy")
"""How this machine reaches its package index; a container engine is told such things too."""


@dataclass(frozen=True)
class Stage:
    """One stage, or the image: a folder over others and over the base, and what its instructions have set."""

    base: Path
    lowers: tuple[Path, ...]
    upper: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def above(self, upper: Path) -> "Stage":
        """A new stage on this one."""
        upper.mkdir()
        return replace(self, lowers=(self.upper, *self.lowers), upper=upper, arguments={})

    def mount(self, *, writable: bool) -> str:
        """Shell commands that make its files appear under `$merged`, while the base is under `$base`."""
        lowers = self.lowers if writable else (self.upper, *self.lowers)
        options = f"lowerdir={':'.join([*map(str, lowers), '$base'])}"
        if writable:
            options += f",upperdir={self.upper},workdir={_work(self.upper)}"
        return f"""
            mount -t overlay overlay -o lowerdir=/,upperdir={self.base},workdir={_work(self.base)} "$base"
            mount -t overlay overlay -o "{options}" "$merged"
        """


def can_rehearse() -> str:
    """Why not; empty if it can be done here."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return "needs root on Linux"
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    if any((point, kind) == ("/", "overlay") for _, point, kind, *_ in mounts):
        return "needs a root file system that is no overlay: Linux stacks two, and both are used here"
    if Path(sys.base_prefix) == Path("/usr"):
        return "needs a Python of its own folder, not the distribution's"
    return ""


def build(containerfile: Path, scratch: Path) -> Stage:
    """Carry out the instructions; the image.

    Raises:
        subprocess.CalledProcessError: one of them failed; its output was shown.
    """
    stages: dict[str, Stage] = {}
    global_arguments: dict[str, str] = {}
    base, stage = _base(scratch), None
    for number, instruction in enumerate(read(containerfile)):
        if instruction.name == "FROM":
            image, *alias = instruction.words
            stage = stages.get(image, base).above(scratch / f"stage-{number}")
            name = alias[1] if alias else ""
        elif stage is None:
            global_arguments |= instruction.assignments
            continue
        else:
            stage = _carry_out(instruction, stage, stages)
        stages[name] = stage
    assert stage is not None
    return stage


def run(image: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start the image as a pod does; with arguments in the place of its command, if given."""
    command = [*image.entrypoint, *(arguments or image.command)]
    uid, _, gid = image.user.partition(":")
    script = f"""
        {image.mount(writable=False)}
        mount -t tmpfs tmpfs "$merged/tmp" && mount --rbind /dev "$merged/dev" && mount --bind /proc "$merged/proc"
        exec chroot --userspec={uid}:{gid} "$merged" {_env(image.environment)} {shlex.join(command)}
    """
    return _script(script, check=False)


def _base(scratch: Path) -> Stage:
    base = scratch / "base"
    for hidden in HIDDEN:
        folder = base / hidden
        folder.mkdir(parents=True)
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
    (base / "tmp").chmod(0o1777)
    local, prefix = base / "usr" / "local", Path(sys.base_prefix)
    for part in ("bin", "lib"):
        packages = shutil.ignore_patterns("site-packages", "__pycache__", "test")
        shutil.copytree(prefix / part, local / part, symlinks=True, ignore=packages, copy_function=os.link)
    pip = scratch / "pip"
    pip.mkdir()
    # A Python with a shared library looks for that where it was built to be, which is not where it is now.
    environment = {"LD_LIBRARY_PATH": "/usr/local/lib", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    stage = Stage(base, (), pip, environment)
    _run(Instruction("RUN", "python3 -m ensurepip --default-pip >/dev/null"), stage)
    return stage


def _carry_out(instruction: Instruction, stage: Stage, stages: dict[str, Stage]) -> Stage:
    known = stage.arguments | stage.environment
    expanded = {name: Template(text).safe_substitute(known) for name, text in instruction.assignments.items()}
    match instruction.name:
        case "ARG":
            return replace(stage, arguments=stage.arguments | expanded)
        case "ENV":
            return replace(stage, environment=stage.environment | expanded)
        case "WORKDIR":
            (stage.upper / instruction.text.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return replace(stage, workdir=instruction.text)
        case "USER":
            return replace(stage, user=instruction.text)
        case "ENTRYPOINT":
            return replace(stage, entrypoint=tuple(instruction.words))
        case "CMD":
            return replace(stage, command=tuple(instruction.words))
        case "COPY":
            _copy(instruction, stage, stages)
        case "RUN":
            _run(instruction, stage)
        case "LABEL" | "EXPOSE":
            pass
        case other:
            raise NotImplementedError(other)
    return stage


def _copy(instruction: Instruction, stage: Stage, stages: dict[str, Stage]) -> None:
    *sources, target = instruction.words
    if name := instruction.flags.get("from"):
        for source in sources:
            _copy_from_stage(stages[name], source, stage.upper / target.lstrip("/"))
        return
    ignore = Ignore.of(TOP / ".dockerignore")
    for source in sources:
        whole = (TOP / source).is_file()
        for file in [TOP / source] if whole else sorted((TOP / source).rglob("*")):
            path = file.relative_to(TOP)
            if file.is_file() and not ignore.excludes(str(path)):
                into = Path(file.name) if whole else file.relative_to(TOP / source)
                copy = stage.upper / target.lstrip("/") / into
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)


def _copy_from_stage(source: Stage, path: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _script(f"""
        {source.mount(writable=False)}
        cp --archive "$merged{path}/." {shlex.quote(str(target))}
    """)


def _run(instruction: Instruction, stage: Stage) -> None:
    environment = (
        stage.arguments | stage.environment | {name: os.environ[name] for name in PASSED if name in os.environ}
    )
    mount = ""
    if kind := instruction.flags.get("mount"):
        given = dict(part.split("=", 1) for part in kind.split(","))
        assert given["type"] == "cache", f"only caches are rehearsed, not {kind}"
        CACHE.mkdir(parents=True, exist_ok=True)
        mount = f'mkdir -p "$merged{given["target"]}" && mount --bind {CACHE} "$merged{given["target"]}"'
    _script(f"""
        {stage.mount(writable=True)}
        mount --rbind /dev "$merged/dev" && mount --bind /proc "$merged/proc"
        {mount}
        chroot "$merged" {_env(environment)} sh -c {shlex.quote(f"cd {stage.workdir} && {instruction.text}")}
    """)


def _script(text: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run shell commands in a mount namespace of their own, with the folders `$base` and `$merged` to mount on."""
    with tempfile.TemporaryDirectory() as base, tempfile.TemporaryDirectory() as merged:
        return subprocess.run(
            ["unshare", "--mount", "sh", "-euc", text],
            env={**os.environ, "base": base, "merged": merged},
            text=True,
            capture_output=not check,
            check=check,
        )


def _env(environment: dict[str, str]) -> str:
    return shlex.join(["env", "--ignore-environment", *(f"{name}={value}" for name, value in environment.items())])


def _work(upper: Path) -> Path:
    """The folder that overlayfs wants beside an upper one."""
    work = upper.with_name(f"{upper.name}.work")
    work.mkdir(exist_ok=True)
    return work


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        done = run(build(Path(sys.argv[1]), Path(folder)), *sys.argv[2:])
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)
