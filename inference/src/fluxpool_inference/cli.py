"""The command line: `serve` with one flag per setting, and `tiny-model`.

Exit codes: 0 done; 1 ended before all that was admitted was answered; 2 an option (flag or variable) that does not
parse, with one line that names it; 3 the server cannot start with these options, this model or this device.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from fluxpool_inference import contract, lifecycle, termination
from fluxpool_inference.engine import StartError, StartFailure
from fluxpool_inference.settings import ServeSettings
from fluxpool_inference.version import VERSION

USAGE_ERROR_EXIT_CODE = 2


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one line, not with the usage of forty flags."""

    def error(self, message: str) -> Any:
        self.exit(USAGE_ERROR_EXIT_CODE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` if None) and return the exit code."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    return _tiny_model(**options) if command == "tiny-model" else _serve(options)


def _serve(flags: dict[str, Any]) -> int:
    try:
        settings = ServeSettings(**flags)
    except ValidationError as error:
        message = _one_line(error, flags)
        termination.write(_termination_log(flags), StartError(StartFailure.INVALID_CONFIGURATION, message))
        return _usage_error("serve", message)
    return lifecycle.serve(settings)


def _termination_log(flags: dict[str, Any]) -> Path:
    """Where it would be with valid settings."""
    default = ServeSettings.model_fields["termination_log"].default
    variable = os.environ.get(contract.ENV_PREFIX + "TERMINATION_LOG")
    return Path(flags.get("termination_log") or variable or default)


def _usage_error(command: str, message: str) -> int:
    sys.stderr.write(f"fluxpool-inference {command}: {message}\n")
    return USAGE_ERROR_EXIT_CODE


def _tiny_model(directory: Path, *, schnell: bool, size: Literal["tiny", "small"], seed: int) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _usage_error("tiny-model", f"{directory} cannot be made a directory: {error.strerror}")
    from fluxpool_inference.tiny_model import write_tiny_model  # noqa: PLC0415 - it imports torch, which `serve` never does

    write_tiny_model(directory, schnell=schnell, size=size, seed=seed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fluxpool-inference", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|tiny-model")
    serve = commands.add_parser(
        "serve",
        help="serve one model over HTTP",
        description="Serve one FLUX model over HTTP. Each flag also has the variable named beside it; the flag wins.",
        allow_abbrev=False,
    )
    for name, field in ServeSettings.model_fields.items():
        _add_flag(serve, name, field)
    tiny = commands.add_parser(
        "tiny-model", help="write a tiny FLUX model with random weights, for tests", allow_abbrev=False
    )
    tiny.add_argument("directory", type=Path, help="folder to write; made if absent")
    tiny.add_argument("--schnell", action="store_true", help="without guidance embedding, like FLUX.1-schnell")
    tiny.add_argument(
        "--size", choices=("tiny", "small"), default="tiny", help="transformer of 0.3 or 36 million parameters"
    )
    tiny.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of the weights, 0 to 2**64 - 1 (default: %(default)s)"
    )
    return parser


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) >= 2**64:
        raise argparse.ArgumentTypeError("must be an integer from 0 to 2**64 - 1")
    return int(text)


def _add_flag(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    variable = contract.ENV_PREFIX + name.upper()
    text = f"{field.description}{_default_text(field)} [{variable}]".replace("%", "%%")
    flag = "--" + name.replace("_", "-")
    if field.annotation in {bool, bool | None}:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    else:
        parser.add_argument(flag, default=argparse.SUPPRESS, metavar=_metavar(name, field), help=text)


def _default_text(field: FieldInfo) -> str:
    default = field.default
    if field.is_required() or default is None or default in ((), ""):
        return ""
    return f" (default: {','.join(default) if isinstance(default, tuple) else default})"


def _metavar(name: str, field: FieldInfo) -> str:
    alternatives = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    if alternatives and all(isinstance(choice, str) for choice in alternatives):
        return "|".join(alternatives)
    kind = alternatives[0] if alternatives else field.annotation
    if kind is float:
        return "SECONDS" if name.endswith("_seconds") else "SHARE"
    return "N" if kind is int else "VALUE"


def _one_line(error: ValidationError, flags: dict[str, Any]) -> str:
    """The first problem, with the option named as its user wrote it."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = re.sub(r"^\w+ should", "must", problem["msg"].removeprefix("Value error, "))
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    flag, variable = "--" + name.replace("_", "-"), contract.ENV_PREFIX + name.upper()
    if problem["type"] == "missing":
        return f"{flag} (or {variable}) is required"
    option = flag if name in flags else variable
    return f"{option} {message}"
