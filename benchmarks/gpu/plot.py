"""gpu.png: images per second over rows for each size, and how near each form comes to the reference rate.

python -m benchmarks.gpu.plot benchmarks/results/gpu.json     beside the result, one picture per device
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("Agg")

Cell = Mapping[str, Any]
COLOURS = {
    "bf16 eager": "#7b8794",
    "bf16 compiled": "#0967d2",
    "bf16 graphs": "#0f8b6d",
    "fp8 compiled": "#7b3fe4",
    "nf4 eager": "#f0b429",
}
"""Of the forms that were measured at every size."""
STEPS = "28"


def draw(result: Path, folder: Path) -> list[Path]:
    """One PNG for each device of a result file. Returns their paths."""
    parts = json.loads(result.read_text())["parts"]
    return [_draw(part, folder / f"gpu-{_slug(name)}.png") for name, part in parts.items()]


def _slug(device: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def _draw(part: Mapping[str, Any], path: Path) -> Path:
    steps = [cell["figures"] for cell in part["figures"]["cells"] if cell["figures"].get("kind") == "step"]
    grid = [
        step for step in steps if step["model"] == "dev" and not step["compares_attention"] and _form(step) in COLOURS
    ]
    sides = sorted({step["width"] for step in grid})
    figure = Figure(figsize=(4 * (len(sides) + 1), 4.2), layout="constrained")
    *panels, last = figure.subplots(1, len(sides) + 1, squeeze=False)[0]
    for panel, side in zip(panels, sides, strict=True):
        _throughput(panel, [step for step in grid if step["width"] == side], side)
    _rates(last, [step for step in grid if step["width"] == max(sides, default=0)], part["figures"])
    figure.suptitle(f"{part['figures']['model']}: {part['device']}")
    figure.savefig(path, dpi=120)
    return path


def _form(step: Cell) -> str:
    return f"{step['precision']} {step['launch']}"


def _by_form(steps: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Steps of each form, by rows, in the order of COLOURS."""
    forms = {form: sorted((s for s in steps if _form(s) == form), key=lambda s: int(s["rows"])) for form in COLOURS}
    return {form: found for form, found in forms.items() if found}


def _throughput(panel: Axes, steps: Sequence[Cell], side: int) -> None:
    for form, found in _by_form(steps).items():
        rates = [step["rows"] / step["derived_images_of_steps"][STEPS]["denoise_seconds"] for step in found]
        panel.plot([step["rows"] for step in found], rates, marker="o", color=COLOURS[form], label=form)
    rows = sorted({step["rows"] for step in steps})
    panel.set_xscale("log", base=2)
    panel.set_xticks(rows, [str(count) for count in rows])
    panel.set(title=f"{side}x{side}, {STEPS} steps, denoising", xlabel="rows in a step", ylabel="images/s")
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)


def _rates(panel: Axes, steps: Sequence[Cell], figures: Mapping[str, Any]) -> None:
    forms = _by_form(steps)
    best = [max(step["tflop_per_second"] for step in found) for found in forms.values()]
    panel.barh(list(forms), best, color=[COLOURS[form] for form in forms])
    reference = figures["reference_tflop_per_second"]
    panel.axvline(reference, color="#cf1124", linestyle="--", linewidth=1)
    panel.set(title="largest images, best rows", xlabel=f"TFLOP/s ({reference}: a bf16 product on an H200)")
    panel.invert_yaxis()


def main() -> int:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    result: Path = parser.parse_args().result
    for path in draw(result, result.parent):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
