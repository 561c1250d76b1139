import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from recordings import BATCH_UP, SCHEDULE, good, sample
from rich.console import Console

from fluxpool_demo import contact_sheet, timeline_plot
from fluxpool_demo.contact_sheet import Picture
from fluxpool_demo.figures import Figures
from fluxpool_demo.live import COLUMNS, in_words, picture
from fluxpool_demo.record import Decision, Knob


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_timeline_is_drawn_from_a_recording(tmp_path: Path) -> None:
    timeline_plot.draw(good(), tmp_path / "timeline.png")
    with Image.open(tmp_path / "timeline.png") as image:
        assert image.width == 1650


def test_the_timeline_of_a_run_in_which_nothing_happened_is_drawn_too(tmp_path: Path) -> None:
    timeline_plot.draw(good(samples=(), decisions=(), requests=()), tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").exists()


def test_the_contact_sheet_shows_every_image_in_its_place(tmp_path: Path) -> None:
    colours = ["#ff0000", "#00ff00", "#0000ff", "#ffff00", "#00ffff", "#ff00ff", "#123456"]
    contact_sheet.draw([Picture(png(c), c) for c in colours], "seven", "note", tmp_path / "images.png")
    with Image.open(tmp_path / "images.png") as sheet:
        shown = {sheet.getpixel((x, y)) for x in range(0, sheet.width, 40) for y in range(0, sheet.height, 40)}
    assert {tuple(bytes.fromhex(colour[1:])) for colour in colours} <= shown


def now(**changes: Any) -> Figures:
    figures = Figures(
        second=50,
        step=SCHEDULE.steps[1],
        sample=sample(50, batch_size=8, replicas=4, ready=2),
        images_per_second=4.2,
        p95_seconds=3.14,
        sent=90,
        answered=80,
        in_flight=10,
        failed=0,
        rejections=3,
    )
    return replace(figures, **changes)


def shown(history: list[Figures], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(picture(history, [BATCH_UP]))
    return console.export_text()


def test_the_live_view_names_what_is_asked_what_is_there_and_what_was_decided() -> None:
    text = shown([now()], width=110)
    for words in ("step up: 3 images/s", "in flight 10", "429s 3", "2 of 4", "4.2", "3.1 s", "batch size 2 → 8"):
        assert words in text
    assert "3 requests wait for a row" in text


def test_a_whole_run_fits_into_a_terminal_of_80_columns() -> None:
    text = shown([now(images_per_second=second) for second in range(COLUMNS)], width=80)
    assert "…" not in text
    assert text.count("█") >= 4  # the newest values are there: the highest
    assert "failed 0  429s 3" in text


def test_a_decision_without_a_reason_is_told_without_one() -> None:
    assert in_words(Decision(1, Knob.REPLICAS, None, 2)) == "replicas - → 2"
