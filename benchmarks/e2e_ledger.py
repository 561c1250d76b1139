"""Records what became of every request of the last end-to-end run in `results/operator.json`.

    make test-cluster
    tests/.venv/bin/python benchmarks/e2e_ledger.py

The run leaves its counts in `out/e2e/ledger.json`. *failed* is the final outcome after the official client's default
retries, *lost* an attempt without any answer.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from record import RESULTS, Part, at_most, record, reported

from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT

LEDGER = RESULTS.parents[1] / "out" / "e2e" / "ledger.json"


def main(path: Path = LEDGER) -> int:
    """Record the counts, and print where."""
    if not path.exists():
        sys.stderr.write(f"{path} is not there: run `make test-cluster` first\n")
        return 2
    counts = json.loads(path.read_text())
    share = counts["pace_overruns"] / max(1, counts["paced_steps"])
    part = Part(
        name="end-to-end run",
        command="make test-cluster",
        versions={"openai": version("openai")},
        aims=[
            reported("images asked for in the end-to-end run", counts["requests"]),
            at_most("requests lost (admitted and not answered) in it", 0, counts["lost"]),
            at_most("requests failed after the official client's retries in it", 0, counts["failed"]),
            reported("answers of 429 in it", counts["rejected_429"]),
            at_most("share of paced steps that overran in it", OVERRUN_SHARE_LIMIT, round(share, 4)),
        ],
        figures={"paced": True, **counts},
    )
    print(record("operator", part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
