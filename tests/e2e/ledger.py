"""The count of the whole run: every request any test sends, and what became of it.

*failed* is the final outcome after the official client's default retries. *lost* counts attempts that ended without any
answer, which those retries would hide: a pod that admits and does not answer makes one, and so does one that is sent a
request when it no longer listens. Answers of 429 are counted apart.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fluxpool_demo.load import RequestRecord
from fluxpool_demo.record import Pacing


@dataclass
class Ledger:
    """See the module.

    Attributes:
        records: of every image request.
        figures: what was measured on the way, in seconds, by name.
        pacing: steps of all pods that were held to a pace, and those that overran it; known at the end.
    """

    records: list[RequestRecord] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    pacing: Pacing = field(default_factory=Pacing)

    def add(self, records: Iterable[RequestRecord]) -> None:
        """Enter requests that have their final outcome."""
        self.records.extend(records)

    @property
    def failed(self) -> list[RequestRecord]:
        """Those without an image in the end."""
        return [record for record in self.records if not record.ok]

    @property
    def lost(self) -> int:
        """Attempts without any answer."""
        return sum(record.unanswered for record in self.records)

    @property
    def rejections(self) -> int:
        """Answers of 429."""
        return sum(record.rejections for record in self.records)

    def lines(self) -> list[str]:
        """The ledger in words."""
        counts = f"{len(self.records)} images asked for: {len(self.failed)} failed, {self.lost} lost"
        return [
            f"{counts}, {self.rejections} answers of 429",
            f"{self.pacing.overruns} of {self.pacing.steps} paced steps overran",
            *(f"{name}: {seconds:.1f} s" for name, seconds in self.figures.items()),
        ]

    def write(self, path: Path) -> None:
        """The counts as JSON, which `benchmarks/e2e_ledger.py` records."""
        counts = {
            "requests": len(self.records),
            "failed": len(self.failed),
            "lost": self.lost,
            "rejected_429": self.rejections,
            "paced_steps": self.pacing.steps,
            "pace_overruns": self.pacing.overruns,
            "seconds": {name: round(seconds, 2) for name, seconds in self.figures.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(counts, indent=1) + "\n")
