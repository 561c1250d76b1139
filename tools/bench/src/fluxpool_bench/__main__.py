"""The command line."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fluxpool_bench import arrivals, plots, report, table, workload
from fluxpool_bench.client import Target
from fluxpool_bench.errors import UsageError
from fluxpool_bench.session import Closed, Load, Open, Run, Session
from fluxpool_bench.workload import Kind, Workload

EXIT_MISSED, EXIT_USAGE = 1, 2

EXAMPLES = """examples:
  fluxpool-bench http://127.0.0.1:8000/v1 --requests 50 --concurrent 5
  fluxpool-bench http://127.0.0.1:8000/v1 --concurrent 1,2,4,8,16            a sweep
  fluxpool-bench http://127.0.0.1:8000/v1 --rate 3 --requests 200            open loop, Poisson
  fluxpool-bench http://A/v1 --compare http://B/v1 --rounds 10               interleaved, with ratios
  fluxpool-bench http://127.0.0.1:8000/v1 --max-p95 4 --min-throughput 2     exit 1 when missed
"""


def parser() -> argparse.ArgumentParser:
    """Every option, with its unit."""
    p = argparse.ArgumentParser(
        prog="fluxpool-bench",
        description="Throughput and latency of any OpenAI-compatible image server.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("url", help="base URL as an OpenAI client takes it, with /v1")
    p.add_argument("--compare", metavar="URL", help="a second server, measured in turn with the first")
    p.add_argument("--model", help="model name to send (default: none)")
    load = p.add_argument_group("load")
    load.add_argument("--requests", type=int, default=50, metavar="N", help="requests of a run (default 50)")
    load.add_argument(
        "--concurrent", default="5", metavar="N[,N…]", help="closed loop: clients; several make a sweep (default 5)"
    )
    load.add_argument("--rate", type=float, metavar="R", help="open loop: requests per second, Poisson arrivals")
    load.add_argument("--constant", action="store_true", help="with --rate: evenly spaced arrivals")
    load.add_argument(
        "--arrivals", type=Path, metavar="CSV", help="open loop: arrival times in s, column t_s or the first"
    )
    load.add_argument(
        "--warm-up", type=int, default=3, metavar="N", help="requests to each server before the first run (default 3)"
    )
    load.add_argument("--rounds", type=int, default=1, metavar="N", help="repeat everything N times (default 1)")
    work = p.add_argument_group("requests")
    work.add_argument("--workload", type=Path, metavar="TOML", help="a mix of sizes and steps, see the README")
    work.add_argument("--size", metavar="WxH")
    work.add_argument("--steps", type=int)
    work.add_argument("--images", type=int, default=1, metavar="N", help="images per request (n)")
    work.add_argument("--format", choices=["png", "jpeg", "webp"])
    work.add_argument("--seed", type=int, default=0, help="draws requests and arrivals (default 0)")
    work.add_argument("--timeout", type=float, default=600, metavar="S", help="seconds per request (default 600)")
    out = p.add_argument_group("results")
    out.add_argument("--out", type=Path, metavar="DIR", help="write result.json and PNG plots there")
    out.add_argument("--max-p95", type=float, metavar="S", help="exit 1 if a run of the first server has a longer p95")
    out.add_argument("--min-throughput", type=float, metavar="R", help="exit 1 if one has fewer images per second")
    return p


def loads(args: argparse.Namespace) -> list[Load]:
    """The loads asked for. Raises UsageError."""
    if args.arrivals:
        return [Open(tuple(arrivals.from_csv(args.arrivals)), args.arrivals.name)]
    if args.rate is not None:
        if args.rate <= 0:
            raise UsageError("--rate must be above 0")
        times = (
            arrivals.constant(args.rate, args.requests)
            if args.constant
            else arrivals.poisson(args.rate, args.requests, args.seed)
        )
        return [Open(tuple(times), f"{args.rate:g}/s {'constant' if args.constant else 'Poisson'}")]
    try:
        numbers = [int(part) for part in args.concurrent.split(",")]
    except ValueError as error:
        raise UsageError(f"--concurrent {args.concurrent}: must be whole numbers, separated by commas") from error
    if min(numbers) < 1:
        raise UsageError("--concurrent must be at least 1")
    return [Closed(number) for number in numbers]


def work(args: argparse.Namespace) -> Workload:
    """The requests asked for. Raises UsageError."""
    if args.workload:
        return workload.load(args.workload, args.seed)
    return Workload([Kind(size=args.size, steps=args.steps, n=args.images, output_format=args.format)], args.seed)


def check(args: argparse.Namespace) -> None:
    """What argparse does not check. Raises UsageError."""
    for name, least in (("requests", 1), ("rounds", 1), ("warm_up", 0), ("images", 1)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}")
    for url in filter(None, (args.url, args.compare)):
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url}: must be a base URL such as http://127.0.0.1:8000/v1")
    if args.compare and args.compare.rstrip("/") == args.url.rstrip("/"):
        raise UsageError("--compare needs another server than the first")


async def measure(args: argparse.Namespace, console: Console) -> list[Run]:
    """Run the session."""
    key = os.environ.get("OPENAI_API_KEY", "none")
    targets = [Target(url, args.model, args.timeout, key) for url in (args.url, args.compare) if url]
    session = Session(targets, loads(args), work(args), args.requests, args.rounds, args.warm_up)
    try:
        with table.LiveProgress(console) as progress:
            return await session.run(progress)
    finally:
        for target in targets:
            await target.close()


def missed(args: argparse.Namespace, runs: Sequence[Run]) -> list[str]:
    """The limits that a run of the first server did not keep."""
    misses = []
    for run in (run for run in runs if run.target == args.url.rstrip("/")):
        p95, throughput = run.summary.p95, run.summary.throughput
        if args.max_p95 is not None and (p95 is None or p95 > args.max_p95):
            misses.append(f"{run.load}, round {run.round}: p95 {table.seconds(p95)} s, limit {args.max_p95:g} s")
        if args.min_throughput is not None and throughput < args.min_throughput:
            misses.append(f"{run.load}, round {run.round}: {throughput:.2f} images/s, least {args.min_throughput:g}")
    return misses


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0; 1 for a limit missed or nothing answered; 2 for a command line or file that is wrong."""
    args = parser().parse_args(argv)
    console = Console()
    try:
        check(args)
        runs = asyncio.run(measure(args, console))
    except UsageError as error:
        sys.stderr.write(f"fluxpool-bench: {error}\n")
        return EXIT_USAGE
    console.print(table.results(runs))
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


if __name__ == "__main__":
    sys.exit(main())
