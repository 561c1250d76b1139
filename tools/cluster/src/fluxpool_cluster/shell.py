"""Short-lived programs of the machine."""

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fluxpool_cluster.errors import ClusterError


def run(
    *argv: str | Path,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises:
        ClusterError: it is missing or failed; the message is its command line and what it wrote on standard error.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, env=environment, cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise ClusterError(f"the program {words[0]} is not installed") from None
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip()
        raise ClusterError(f"`{shlex.join(words)}` failed with status {done.returncode}: {complaint}")
    return done.stdout.decode(errors="replace")
