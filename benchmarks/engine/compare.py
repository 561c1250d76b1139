"""Compares `fluxpool-inference serve` with its peers, side by side. Recorded in `benchmarks/results/engine.json`.

    make envs
    tests/.venv/bin/python benchmarks/engine/compare.py --peers      the peers' environments, as locked
    tests/.venv/bin/python benchmarks/engine/compare.py              every cell, twelve rounds each
    tests/.venv/bin/python benchmarks/engine/compare.py mixed_steps --rounds 5 --more     add rounds to a cell
    tests/.venv/bin/python benchmarks/engine/compare.py --quick      one short round of each; records nothing

README.md beside this file says who takes part, how, and why that is fair.
"""

import argparse
import asyncio
import random
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
from record import today  # noqa: E402

QUICK_OVERLOAD_SECONDS = 2.0


async def main(options: argparse.Namespace) -> int:
    """Measure, and say what was recorded."""
    folder = Path(tempfile.mkdtemp(prefix="engine-quick-")) if options.quick else results.RAW
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    rounds, run = 1 if options.quick else options.rounds, results.run(options.arguments)
    for setup, cells in _groups(options):
        names = list(dict.fromkeys(name for cell in cells for name in cell.sides))
        kept = {cell.name: _kept(cell, options, run, folder) for cell in cells}
        first_life = 1 + max((one["life"] for document in kept.values() for one in document["rounds"]), default=-1)
        for life, done in enumerate(range(0, rounds, options.restart_every), first_life):
            order = random.Random(life).sample(names, len(names))
            async with measure.stage(order, setup, logs) as on:
                for cell in cells:
                    document, count = kept[cell.name], min(options.restart_every, rounds - done)
                    facts = {"life": life, "run": len(document["runs"]) - 1}
                    async for one in _measured(on, cell, len(document["rounds"]), count, quick=options.quick):
                        document["rounds"].append({**one, **facts, "date": today()})
                        results.save(cell.name, document, folder)
                        print(f"{cell.name}, round {len(document['rounds'])}: {_line(one)}", flush=True)
        if not options.quick:
            print("\n".join(results.compose()), flush=True)
    return 0


def _kept(cell: Cell, options: argparse.Namespace, run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the rounds of a run are added to. Ends the program if those that are there were measured otherwise."""
    conditions = {
        "torch_threads": options.threads,
        "device_cpus": len(options.device_cpus),
        "host_cpus": len(options.host_cpus),
    }
    described = cell.describe() | conditions
    if not options.more:
        return {"cell": described, "runs": [run], "rounds": []}
    found = results.load(cell.name, folder)
    if found["rounds"] and found["cell"] != described:
        raise SystemExit(f"the rounds of {cell.name} that are there were measured otherwise: {found['cell']}")
    for before in found["runs"]:
        if other := {fact: before[fact] for fact in ("machine", "versions") if before[fact] != run[fact]}:
            raise SystemExit(f"the rounds of {cell.name} that are there were measured otherwise: {other}")
    return {"cell": described, "runs": [*found["runs"], run], "rounds": found["rounds"]}


def _groups(options: argparse.Namespace) -> list[tuple[Setup, list[Cell]]]:
    """Cells that the same processes can carry, one after the other."""
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
        pace=cell.pace,
    )


async def _measured(on: Stage, cell: Cell, first: int, count: int, *, quick: bool) -> AsyncIterator[dict[str, Any]]:
    cell = cell.shortened() if quick else cell
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


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"one of {', '.join(cell.name for cell in CELLS)}")
    parser.add_argument("--rounds", type=_count, default=12, metavar="N", help="of each cell (default 12)")
    parser.add_argument("--restart-every", type=_count, default=2, metavar="N", help="rounds of a life (default 2)")
    parser.add_argument("--more", action="store_true", help="add the rounds to those that are there already")
    parser.add_argument("--quick", action="store_true", help="one short round of each cell; records nothing")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, on every side (default 1)")
    parser.add_argument("--device-cpus", type=_cpus, default=_cpus("0"), metavar="N[,N…]", help="default 0")
    parser.add_argument("--host-cpus", type=_cpus, default=_cpus("1"), metavar="N[,N…]", help="default 1")
    parser.add_argument("--peers", action="store_true", help="make the peers' environments, and end")
    parser.add_argument("--record", action="store_true", help="record what has been measured already, and end")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
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
