"""Shows a FluxPool at work.

run    the whole demo: cluster, chart, FluxPool, images, load; writes out/demo
play   the demo on a cluster that is there; `run` starts this inside the cluster's network
draw   report and timeline of a recorded run again
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fluxpool_cluster.errors import ClusterError
from fluxpool_demo import closing, record, supervise
from fluxpool_demo.errors import DemoError
from fluxpool_demo.live import Terminal
from fluxpool_demo.story import play


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0 all went as it should, 1 it did not, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except (DemoError, ClusterError, ExceptionGroup) as error:
        print(f"fluxpool-demo: {_first(error)}", file=sys.stderr)  # noqa: T201 - the command line's own output
        return 1
    except KeyboardInterrupt:
        print("fluxpool-demo: interrupted", file=sys.stderr)  # noqa: T201 - the command line's own output
        return supervise.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fluxpool-demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="run|play|draw")
    run = commands.add_parser("run")
    run.set_defaults(action=lambda options: supervise.run(["fluxpool-demo", *sys.argv[1:]], keep=options.keep))
    inside = commands.add_parser("play")
    inside.add_argument(
        "--began-at", type=float, default=time.monotonic(), help="of the monotonic clock, for the report"
    )
    inside.add_argument("--command", default="fluxpool-demo play", help="what was typed, for the report")
    inside.add_argument("--tidy", action="store_true", help="take pool and chart away at the end")
    inside.set_defaults(action=_play)
    for command in (run, inside):
        command.add_argument("--keep", action="store_true", help="leave cluster, chart and pool as they are at the end")
    draw = commands.add_parser("draw")
    draw.add_argument("folder", type=Path, nargs="?", default=closing.OUT)
    draw.set_defaults(action=_draw)
    return parser


def _play(options: argparse.Namespace) -> int:
    terminal = Terminal()
    try:
        recording, pictures = asyncio.run(play(terminal, options.command, options.began_at, tidy=options.tidy))
    except BaseException:
        closing.how_to_go_on(terminal, keep=options.keep)
        raise
    closing.write(recording, pictures, closing.OUT)
    closing.tell(recording, terminal, closing.OUT, keep=options.keep)
    return 0


def _draw(options: argparse.Namespace) -> int:
    closing.write_again(record.read(options.folder / closing.RECORDING), options.folder)
    return 0


def _first(error: BaseException) -> BaseException:
    """The first thing that went wrong; what is no failure of ours is raised on, for its traceback."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, (DemoError, ClusterError)):
        raise error
    return error


if __name__ == "__main__":
    sys.exit(main())
