"""Around the demo: brings the cluster up, plays inside its network in a process of its own, and puts everything back.

The player is in a process group of its own, so that Ctrl-C reaches it once, through us, and it can clean up; what it
does not get to, the end of the cluster does.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from fluxpool_cluster import layout
from fluxpool_demo.scenario import MAX_REPLICAS

CLUSTER = (sys.executable, "-m", "fluxpool_cluster")
INTERRUPTED = 128 + signal.SIGINT


def run(arguments: Sequence[str], *, keep: bool) -> int:
    """Play the demo on the cluster that CLUSTER chooses; the lab's is started, and stopped if it was not up before.

    Args:
        arguments: what was typed, for the report.
        keep: leave cluster, chart and pool as they are at the end.

    Returns:
        The exit status.
    """
    began_at = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    # Shells start background jobs with SIGINT ignored; children would inherit that, and not hear of an interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    on_lab = (os.environ.get("CLUSTER") or "lab") == "lab"
    starts_cluster = on_lab and not layout.Layout(layout.state_folder()).summary.exists()
    if on_lab and (status := _cluster("up", "--layer", "node", "--gpus", str(MAX_REPLICAS))):
        if starts_cluster and status == INTERRUPTED:
            _cluster("down")
        return status
    try:
        player = [sys.executable, "-m", "fluxpool_demo", "play", "--began-at", str(began_at)]
        tidy = [] if keep or starts_cluster else ["--tidy"]
        return _cluster("run", "--", *player, "--command", shlex.join(arguments), *(["--keep"] if keep else tidy))
    finally:
        if starts_cluster and not keep:
            _cluster("down")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _cluster(*arguments: str) -> int:
    """Run a command of fluxpool-cluster to its end; an interrupt of ours becomes one of its."""
    process = subprocess.Popen([*CLUSTER, *arguments], process_group=0)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
