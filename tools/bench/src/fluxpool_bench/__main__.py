"""The command line."""

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NoReturn

import httpx
from rich.console import Console

from fluxpool_bench import arrivals, plots, report, table, workload
from fluxpool_bench.client import Target
from fluxpool_bench.errors import NoAnswerError, UsageError, reason
from fluxpool_bench.session import Closed, Load, Open, Run, Session
from fluxpool_bench.summary import LEAST_PAIRS
from fluxpool_bench.workload import Kind, Workload

EXIT_MISSED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
REQUESTS, CONCURRENT = 50, "5"
WIDTH = 160
"""Columns where the output is no terminal but a file or a log, in which a table must not be cut."""

EXAMPLES = """examples:
  fluxpool-bench http://127.0.0.1:8000/v1 --requests 50 --concurrent 5
  fluxpool-bench http://127.0.0.1:8000/v1 --concurrent 1,2,4,8,16            a sweep
  fluxpool-bench http://127.0.0.1:8000/v1 --rate 3 --requests 200            open loop, Poisson
  fluxpool-bench http://A/v1 --compare http://B/v1 --rounds 10               interleaved, with ratios
  fluxpool-bench http://127.0.0.1:8000/v1 --max-p95 4 --min-throughput 2     exit 1 when missed
"""


class _Parser(argparse.ArgumentParser):
    """Answers a wrong command line with one line, not with the usage of twenty options."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Every option, with its unit."""
    p = _Parser(
        prog="fluxpool-bench",
        description="Throughput and latency of any OpenAI-compatible image server.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("url", nargs="?", help="base URL as an OpenAI client takes it, with /v1")
    p.add_argument(
        "--compare",
        nargs="+",
        metavar="URL",
        help="a second server, or the first and the second: they are measured in turn, and told as first over second",
    )
    p.add_argument("--model", help="model name to send (default: none)")
    load = p.add_argument_group("load")
    load.add_argument("--requests", type=int, metavar="N", help="requests of a run (default 50)")
    kind = load.add_mutually_exclusive_group()
    kind.add_argument("--concurrent", metavar="N[,N…]", help="closed loop: clients; several make a sweep (default 5)")
    kind.add_argument("--rate", type=float, metavar="R", help="open loop: requests per second, Poisson arrivals")
    kind.add_argument(
        "--arrivals", type=Path, metavar="CSV", help="open loop: arrival times in s, column t_s or the first"
    )
    load.add_argument("--constant", action="store_true", help="with --rate: evenly spaced arrivals")
    load.add_argument(
        "--warm-up", type=int, default=3, metavar="N", help="requests to each server before the first run (default 3)"
    )
    load.add_argument(
        "--rounds",
        type=int,
        default=1,
        metavar="N",
        help=f"repeat everything N times (default 1); --compare says nothing of fewer than {LEAST_PAIRS}",
    )
    work = p.add_argument_group("requests")
    work.add_argument("--workload", type=Path, metavar="TOML", help="a mix of sizes and steps, see the README")
    work.add_argument("--size", metavar="WxH")
    work.add_argument("--steps", type=int)
    work.add_argument("--images", type=int, metavar="N", help="images per request, n (default 1)")
    work.add_argument("--format", choices=workload.FORMATS)
    work.add_argument("--seed", type=int, default=0, help="draws requests and arrivals (default 0)")
    work.add_argument("--timeout", type=float, default=600, metavar="S", help="seconds per request (default 600)")
    out = p.add_argument_group("results")
    out.add_argument("--out", type=Path, metavar="DIR", help="write result.json and PNG plots there")
    out.add_argument(
        "--max-p95",
        type=float,
        metavar="S",
        help="exit 1 if a run of the first server has a longer p95; a request refused or failed counts as longer",
    )
    out.add_argument("--min-throughput", type=float, metavar="R", help="exit 1 if one has fewer images per second")
    return p


def loads(args: argparse.Namespace) -> list[Load]:
    """The loads asked for. Raises UsageError."""
    if args.arrivals:
        return [Open(tuple(arrivals.from_csv(args.arrivals)), args.arrivals.name)]
    if args.rate is not None:
        count = args.requests or REQUESTS
        times = arrivals.constant(args.rate, count) if args.constant else arrivals.poisson(args.rate, count, args.seed)
        return [Open(tuple(times), f"{args.rate:g}/s {'constant' if args.constant else 'Poisson'}")]
    try:
        numbers = [int(part) for part in (CONCURRENT if args.concurrent is None else args.concurrent).split(",")]
    except ValueError as error:
        raise UsageError(f"--concurrent {args.concurrent}: must be whole numbers, separated by commas") from error
    if min(numbers) < 1:
        raise UsageError("--concurrent must be at least 1")
    return [Closed(number) for number in dict.fromkeys(numbers)]


def work(args: argparse.Namespace) -> Workload:
    """The requests asked for. Raises UsageError."""
    if args.workload:
        return workload.load(args.workload, args.seed)
    return Workload([Kind(size=args.size, steps=args.steps, n=args.images or 1, output_format=args.format)], args.seed)


def check(args: argparse.Namespace) -> None:
    """What argparse does not check. Raises UsageError."""
    _check_numbers(args)
    _check_combinations(args)
    for url in _urls(args):
        if not _is_base_url(url):
            raise UsageError(f"'{url}' must be a base URL such as http://127.0.0.1:8000/v1")
    if args.compare is None and args.url is None:
        raise UsageError("the following arguments are required: url")
    if args.compare is not None and len(_urls(args)) != 2:
        raise UsageError(f"--compare is of two servers, and {len(_urls(args))} are given")
    if args.compare is not None and len({url.rstrip("/") for url in _urls(args)}) == 1:
        raise UsageError("--compare needs another server than the first")
    if not _api_key().isascii():
        raise UsageError("OPENAI_API_KEY must be ASCII")


def _check_numbers(args: argparse.Namespace) -> None:
    """Raises UsageError. NaN is no limit: nothing would ever miss it."""
    for name, least in (("requests", 1), ("rounds", 1), ("warm_up", 0), ("images", 1), ("steps", 1)):
        if (number := getattr(args, name)) is not None and number < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}")
    for name in ("rate", "timeout"):
        if (number := getattr(args, name)) is not None and not (math.isfinite(number) and number > 0):
            raise UsageError(f"--{name} must be above 0")
    for name in ("max_p95", "min_throughput"):
        if (number := getattr(args, name)) is not None and not (math.isfinite(number) and number >= 0):
            raise UsageError(f"--{name.replace('_', '-')} must be 0 or more")


def _check_combinations(args: argparse.Namespace) -> None:
    """An option that would have no effect is refused. Raises UsageError."""
    if args.constant and args.rate is None:
        raise UsageError("--constant needs --rate")
    if args.arrivals and args.requests is not None:
        raise UsageError("--requests has no effect with --arrivals: the file has as many as it has")
    of_one_kind = ("size", "steps", "images", "format")
    if args.workload and (given := [name for name in of_one_kind if getattr(args, name) is not None]):
        raise UsageError(f"--{given[0]} has no effect with --workload: the file says it")


def _urls(args: argparse.Namespace) -> list[str]:
    """In the order in which they are given, whether before or behind --compare."""
    return [*([] if args.url is None else [args.url]), *(args.compare or [])]


def _api_key() -> str:
    return os.environ.get("OPENAI_API_KEY", "none")


def _is_base_url(text: str) -> bool:
    try:
        url = httpx.URL(text)
        url.host.encode("idna")  # as the lookup of its address does
    except (httpx.InvalidURL, UnicodeError):
        return False
    port_is_right = url.port is None or 0 < url.port < 65536
    return url.scheme in {"http", "https"} and bool(url.host) and port_is_right and not (url.query or url.fragment)


def make_folder(folder: Path | None) -> None:
    """Make it and write to it, before anything is measured that could not be written then. Raises UsageError."""
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            NamedTemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"--out {folder}: {reason(error)}") from error


async def measure(args: argparse.Namespace, console: Console) -> list[Run]:
    """Run the session."""
    targets = [Target(url, args.model, args.timeout, _api_key()) for url in _urls(args)]
    session = Session(targets, loads(args), work(args), args.requests or REQUESTS, args.rounds, args.warm_up)
    try:
        with table.LiveProgress(console) as progress:
            return await session.run(progress)
    finally:
        for target in targets:
            await target.close()


def missed(args: argparse.Namespace, runs: Sequence[Run]) -> list[str]:
    """The limits that a run of the first server did not keep."""
    misses = []
    for run in (run for run in runs if run.target == _urls(args)[0].rstrip("/")):
        p95, throughput = run.summary.p95_of_all, run.summary.throughput
        if args.max_p95 is not None and (p95 is None or p95 > args.max_p95):
            of = f" with {run.summary.unanswered} unanswered" if run.summary.unanswered else ""
            misses.append(f"{run.load}, round {run.round}: p95 {table.seconds(p95)} s{of}, limit {args.max_p95:g} s")
        if args.min_throughput is not None and throughput < args.min_throughput:
            misses.append(f"{run.load}, round {run.round}: {throughput:.2f} images/s, least {args.min_throughput:g}")
    return misses


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0; 1 for a limit missed or nothing answered; 2 for a wrong command line or file; 130 interrupted."""
    args = parser().parse_args(argv)
    console = _console()
    try:
        check(args)
        make_folder(args.out)
        runs = asyncio.run(measure(args, console))
    except UsageError as error:
        return _end(error, EXIT_USAGE)
    except NoAnswerError as error:
        return _end(error, EXIT_MISSED)
    except KeyboardInterrupt:
        return _end("interrupted; nothing is reported", EXIT_INTERRUPTED)
    console.print(table.results(runs))
    if len({record.kind for run in runs for record in run.records}) > 1:
        console.print(table.kinds(runs))
    if args.compare:
        console.print(table.comparison(report.comparison(runs)))
    for note in table.warnings(runs):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if args.out:
        report.write(args.out / "result.json", runs)
        for path in [args.out / "result.json", *plots.write(args.out, runs)]:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    misses = missed(args, runs) + [
        f"{run.target}, {run.load}: nothing was answered" for run in runs if not run.summary.ok
    ]
    for miss in misses:
        sys.stderr.write(f"fluxpool-bench: missed: {miss}\n")
    return EXIT_MISSED if misses else 0


def _console() -> Console:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH
    return console


def _end(why: object, code: int) -> int:
    sys.stderr.write(f"fluxpool-bench: {why}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
