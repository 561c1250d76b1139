"""Compares `fluxpool-inference serve` with its peers, side by side. Recorded in `benchmarks/results/engine.json`.

    make envs
    tests/.venv/bin/python benchmarks/engine/compare.py --peers      the peers' environments, as locked
    tests/.venv/bin/python benchmarks/engine/compare.py              every cell, ten rounds each
    tests/.venv/bin/python benchmarks/engine/compare.py mixed_steps --rounds 5 --more     add rounds to a cell
    tests/.venv/bin/python benchmarks/engine/compare.py --quick      one short round of each; records nothing

README.md beside this file says who takes part, how, and why that is fair.
"""

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from comparison import measure, overload, results, sides  # noqa: E402 - after the path
from comparison.cells import CELLS, Cell, Model  # noqa: E402
from comparison.measure import Stage  # noqa: E402
from comparison.sides import Setup  # noqa: E402

QUICK_OVERLOAD_SECONDS = 2.0


async def main(options: argparse.Namespace) -> int:
    """Measure, and say what was recorded."""
    folder = Path(tempfile.mkdtemp(prefix="engine-quick-")) if options.quick else results.RAW
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    rounds = 1 if options.quick else options.rounds
    for setup, cells in _groups(options):
        if not options.more:
            for cell in cells:
                results.forget(cell.name, folder)
        names = list(dict.fromkeys(name for cell in cells for name in cell.sides))
        for start in range(0, rounds, options.restart_every):
            async with measure.stage(measure.rotated(names, start // options.restart_every), setup, logs) as on:
                for cell in cells:
                    count = min(options.restart_every, rounds - start)
                    await _rounds(on, cell.shortened() if options.quick else cell, count, options, folder)
        if not options.quick:
            print("\n".join(results.compose()), flush=True)
    return 0


def _groups(options: argparse.Namespace) -> list[tuple[Setup, list[Cell]]]:
    """Cells that the same processes can carry, so that these are started once."""
    groups: dict[Setup, list[Cell]] = {}
    for cell in CELLS:
        if not options.cells or cell.name in options.cells:
            groups.setdefault(_setup(cell, options), []).append(cell)
    return list(groups.items())


def _setup(cell: Cell, options: argparse.Namespace) -> Setup:
    return Setup(
        model=_model(cell.model),
        rows=cell.rows,
        threads=options.threads,
        device_cpus=options.device_cpus,
        host_cpus=options.host_cpus,
        overload=cell.overload,
    )


async def _rounds(on: Stage, cell: Cell, count: int, options: argparse.Namespace, folder: Path) -> None:
    kept = results.load(cell.name, folder)["rounds"]
    conditions = {
        "torch_threads": options.threads,
        "device_cpus": len(options.device_cpus),
        "host_cpus": len(options.host_cpus),
    }
    async for one in _measured(on, cell, len(kept), count, quick=options.quick):
        kept.append(one)
        results.save(cell.name, {"cell": cell.describe() | conditions, "rounds": kept}, folder)
        print(f"{cell.name}, round {len(kept)}: {_line(one)}", flush=True)


async def _measured(on: Stage, cell: Cell, first: int, count: int, *, quick: bool) -> AsyncIterator[dict[str, Any]]:
    if cell.overload:
        seconds = QUICK_OVERLOAD_SECONDS if quick else overload.SECONDS
        async for one in overload.rounds(on, cell, first, count, seconds):
            yield one.as_dict()
    else:
        async for samples in measure.rounds(on, cell, first, count):
            yield {name: sample.as_dict() for name, sample in samples.items()}


def _line(one: dict[str, Any]) -> str:
    samples = {name: sample for name, sample in one.items() if isinstance(sample, dict)}
    return ", ".join(
        f"{name} {sample['throughput']:.2f}/s p50 {sample['p50'] or 0:.3f}{_faults(sample)}"
        for name, sample in samples.items()
    )


def _faults(sample: dict[str, Any]) -> str:
    return f" ({sample['failed']} failed: {sample['detail'][:80]})" if sample["failed"] else ""


def _model(model: Model) -> Path:
    """Its directory; written if absent."""
    directory = results.RAW / "models" / model
    if not (directory / "model_index.json").exists():
        command = [str(sides.INFERENCE / ".venv" / "bin" / "fluxpool-inference"), "tiny-model", "--size", model]
        subprocess.run([*command, str(directory)], check=True)
    return directory


def _install_peers() -> int:
    """The environments that `sides` starts, as locked."""
    uv = shutil.which("uv") or str(results.ROOT / ".tools" / "bin" / "uv")
    for project in sides.projects():
        subprocess.run([uv, "sync", "--locked", "--compile-bytecode", "--project", str(project)], check=True)
    return 0


def _cpus(text: str) -> frozenset[int]:
    return frozenset(int(part) for part in text.split(","))


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"one of {', '.join(cell.name for cell in CELLS)}")
    parser.add_argument("--rounds", type=int, default=10, metavar="N")
    parser.add_argument("--restart-every", type=int, default=2, metavar="N", help="rounds of a process (default 2)")
    parser.add_argument("--more", action="store_true", help="add the rounds to those that are there already")
    parser.add_argument("--quick", action="store_true", help="one short round of each cell; records nothing")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, on every side (default 1)")
    parser.add_argument("--device-cpus", type=_cpus, default=_cpus("0"), metavar="N[,N…]", help="default 0")
    parser.add_argument("--host-cpus", type=_cpus, default=_cpus("1"), metavar="N[,N…]", help="default 1")
    parser.add_argument("--peers", action="store_true", help="make the peers' environments, and end")
    parser.add_argument("--record", action="store_true", help="record what has been measured already, and end")
    options = parser.parse_args(arguments)
    if unknown := set(options.cells) - {cell.name for cell in CELLS}:
        parser.error(f"there is no cell {min(unknown)!r}")
    return options


if __name__ == "__main__":
    chosen = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a time limit, too, leaves no process behind
    if chosen.peers:
        sys.exit(_install_peers())
    if chosen.record:
        print("\n".join(results.compose()))
        sys.exit()
    sys.exit(asyncio.run(main(chosen)))
