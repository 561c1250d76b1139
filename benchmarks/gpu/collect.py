"""Packs all that a bare GPU machine needs into one file: wheels and the source that uses them.

    python3 -m benchmarks.gpu.collect                        out/gpu/fluxpool-gpu.tar, for Python 3.12
    python3 -m benchmarks.gpu.collect --python-version 3.13 --without pillow requests

On the machine: `tar xf fluxpool-gpu.tar && benchmarks/gpu/run`. Needs pip here, and nothing but Python's own library.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FOLDER = Path("out/gpu")
WHEELS = FOLDER / "wheels"
LIMIT_BYTES = 64 * 2**20
GLIBC = (2, 28)
"""The newest C library that a wheel may ask for; `manylinux2014` and `manylinux1` are names of older ones."""
SOURCES = ("benchmarks/record.py", "benchmarks/gpu", "inference/pyproject.toml", "inference/src")


class TooLargeError(Exception):
    """The file would be larger than what is promised."""


def main() -> int:
    """Exit code 1 if the wheels cannot be had or are too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python-version", default="3.12", help="of the GPU machine (%(default)s)")
    parser.add_argument("--without", nargs="*", default=(), metavar="PACKAGE", help="what the machine has already")
    options = parser.parse_args()
    try:
        download(options.python_version, wanted(options.without))
        path = pack(TOP)
    except (subprocess.CalledProcessError, TooLargeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{path}, {path.stat().st_size / 2**20:.1f} MiB")
    return 0


def wanted(without: Sequence[str]) -> list[str]:
    """The lines of wheels.txt that name a package, but for those packages."""
    lines = Path(__file__).with_name("wheels.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    return [line for line in named if line.partition("==")[0] not in without]


def download(python_version: str, packages: Sequence[str]) -> None:
    """Fill the folder of wheels anew. Raises CalledProcessError, after pip has said why."""
    shutil.rmtree(TOP / WHEELS, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    target = ["--python-version", python_version, *_platforms(), "--dest", str(TOP / WHEELS)]
    subprocess.run([*command, *target, *packages], check=True)


def _platforms() -> Iterator[str]:
    """Pip takes each name by itself, and not those of older libraries with it."""
    names = [f"manylinux_2_{minor}_x86_64" for minor in range(5, GLIBC[1] + 1)]
    for name in (*names, "manylinux2014_x86_64", "manylinux1_x86_64"):
        yield from ("--platform", name)


def pack(top: Path) -> Path:
    """Write the file from the folder of wheels and the source below `top`. Raises TooLargeError."""
    path = top / FOLDER / "fluxpool-gpu.tar"
    with tarfile.open(path, "w") as tar:
        for name in (*SOURCES, str(WHEELS)):
            tar.add(top / name, arcname=name, filter=_needed)
    if (size := path.stat().st_size) > LIMIT_BYTES:
        path.unlink()
        raise TooLargeError(
            f"{size / 2**20:.1f} MiB of wheels and source; at most {LIMIT_BYTES / 2**20:.0f} are promised"
        )
    return path


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unwanted = {"__pycache__", "tests"} & set(Path(member.name).parts)
    return None if unwanted else member


if __name__ == "__main__":
    sys.exit(main())
