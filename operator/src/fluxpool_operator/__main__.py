"""The command line: `fluxpool-operator run` and `fluxpool-operator crd`.

Exit codes: 0 after SIGTERM or when all is well; 1 when a part of the process has ended, or a generated file differs;
2 for a command line or a setting that cannot be used.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fluxpool_operator import log, settings
from fluxpool_operator.errors import SettingsError, StoppedError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parsed = _parser().parse_args(arguments)
    return _run(parsed) if parsed.command == "run" else _crd(parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fluxpool-operator", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=version("fluxpool-operator"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the operator until SIGTERM")
    settings.add_flags(run)
    crd = commands.add_parser("crd", help="print the CustomResourceDefinition of FluxPool")
    action = crd.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="say which generated files differ from the types")
    action.add_argument("--write", action="store_true", help="write them")
    crd.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    return parser


def _run(parsed: argparse.Namespace) -> int:
    from fluxpool_operator.controller.process import run  # noqa: PLC0415 - `crd` needs neither kopf nor kubernetes
    from fluxpool_operator.controller.supervisor import run_process  # noqa: PLC0415

    try:
        chosen = settings.load(vars(parsed))
        log.configure(chosen.log_format, chosen.log_level)
        run_process(run(chosen), _say_end)
    except SettingsError as error:
        print(f"fluxpool-operator: {error}", file=sys.stderr)  # noqa: T201 - the log may not be set up
        return 2
    return 0


def _say_end(error: StoppedError) -> None:
    logging.getLogger(__name__).critical("%s; the process ends, and shall be started again", error)


def _crd(parsed: argparse.Namespace) -> int:
    from fluxpool_operator.api import crd  # noqa: PLC0415 - `run` does not need it

    if parsed.check:
        lines = crd.check(parsed.root)
    elif parsed.write:
        lines = [f"wrote {path}" for path in crd.write(parsed.root)]
    else:
        lines = [crd.render().rstrip("\n")]
    for line in lines:
        print(line)  # noqa: T201 - the command's output
    return 1 if parsed.check and lines else 0


if __name__ == "__main__":
    sys.exit(main())
