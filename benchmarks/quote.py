"""Copies the recorded figures from `benchmarks/results/` into the README, so that no figure there is typed by hand.

python benchmarks/quote.py --write     put the tables between the README's markers
python benchmarks/quote.py --check     exit 1 if the README says something else than the results
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def table(result: dict[str, Any]) -> str:
    """One row per aim; `met` is null where a figure has no aim and is reported only."""
    rows = ["| figure | measured | aim | met |", "|---|---|---|---|"]
    rows += [f"| {aim['name']} | {aim['value']} | {aim['aim']} | {_met(aim['met'])} |" for aim in result["aims"]]
    machine, date = result["machine"], result["date"]
    paced = " The pods were paced: each step was held to the speed of a slow GPU." if result["paced"] else ""
    return "\n".join([*rows, "", f"Measured {date} on {machine}; `{result['command']}`.{paced}"])


def block(result: Path) -> str:
    """What stands between two markers; a run that was not made yet is told as that."""
    return table(json.loads(result.read_text())) if result.exists() else "Not recorded yet."


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "**no**"


def quoted(readme: str, results: Path) -> str:
    """The README with every block `<!-- results: NAME -->` … `<!-- end -->` filled from NAME.json."""
    parts = readme.split("<!-- results: ")
    filled = [parts[0]]
    for part in parts[1:]:
        name, rest = part.split(" -->", 1)
        _, after = rest.split("<!-- end -->", 1)
        filled.append(f"{name} -->\n{block(results / f'{name}.json')}\n<!-- end -->{after}")
    return "<!-- results: ".join(filled)


def main() -> int:
    """Exit code 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verb = parser.add_mutually_exclusive_group(required=True)
    verb.add_argument("--write", action="store_true")
    verb.add_argument("--check", action="store_true")
    args = parser.parse_args()
    now = README.read_text()
    want = quoted(now, ROOT / "benchmarks" / "results")
    if args.write:
        README.write_text(want)
    elif now != want:
        sys.stderr.write("README.md quotes other figures than benchmarks/results: run `make generate`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
