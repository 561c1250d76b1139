"""The end of the demo: files, what is where, and how to go on from there."""

from collections.abc import Sequence
from pathlib import Path

from fluxpool_demo import contact_sheet, platform, report, scenario, timeline_plot
from fluxpool_demo.contact_sheet import Picture
from fluxpool_demo.errors import DemoError
from fluxpool_demo.hints import hints
from fluxpool_demo.live import Terminal
from fluxpool_demo.record import Recording
from fluxpool_demo.verdict import judge

OUT = platform.ROOT / "out" / "demo"
RECORDING = "recording.json"
NOTE = "Random weights, so the pictures mean nothing; real FLUX weights go the same way."


def write(run: Recording, pictures: Sequence[Picture], folder: Path) -> None:
    """Write the recording, the report and all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    run.write(folder / RECORDING)
    write_again(run, folder)
    first = scenario.FIRST_IMAGES
    title = f"{len(pictures)} of {len(run.requests) + first} images, {first} of them before the load"
    contact_sheet.draw(pictures, title, NOTE, folder / "images.png")


def write_again(run: Recording, folder: Path) -> None:
    """Write what a recording alone is enough for: the report and the timeline."""
    report.write(run, folder / "report.json")
    timeline_plot.draw(run, folder / "timeline.png")


def tell(run: Recording, terminal: Terminal, folder: Path, *, keep: bool) -> None:
    """Say what was seen and where it lies.

    Raises:
        DemoError: something that should have happened did not.
    """
    terminal.say("what happened")
    for line in _summary(run):
        terminal.line(f"   {line}")
    terminal.say("where it is")
    for name in ("report.json", "timeline.png", "images.png"):
        terminal.line(f"   {_relative(folder / name)}")
    how_to_go_on(terminal, keep=keep)
    missed = [check for check in judge(run) if not check.met]
    if missed:
        raise DemoError("not as it should be: " + "; ".join(f"{check.name} ({check.found})" for check in missed))


def how_to_go_on(terminal: Terminal, *, keep: bool) -> None:
    """Say what can be done with the cluster now, or how to have it left."""
    terminal.say("to go on" if keep else "to keep the cluster and play with it: make demo KEEP=1")
    if keep:
        for line in hints():
            terminal.line(f"   {line}")


def _summary(run: Recording) -> list[str]:
    found = report.summarize(run)
    lines = (
        "{images_ok} images, {images_failed} failed, {rejected_429} answers of 429 on the way",
        "{seconds_to_ready} s from kubectl apply to Ready, {seconds_to_first_image} s to the first image",
        "batch size up to {batch_size_peak}, then replicas up to {replicas_peak}",
        "{seconds_from_load_step_to_scale_write} s from the load's step to the write of more replicas",
        "{throughput} images/s, latency p50 {p50_latency_seconds} s, p95 {p95_latency_seconds} s",
        "paced: {pace_overruns} of {pace_steps} steps overran",
    )
    return [line.format_map(found) for line in lines]


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
