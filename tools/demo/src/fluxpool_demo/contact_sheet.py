"""images.png: a contact sheet of what the pool made."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS = 6
TILE = 160
GAP = 20
CAPTION = 20
HEADER = 54
PAPER, INK, FAINT = "#ffffff", "#1f2933", "#7b8794"


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as it came, and a short caption."""

    content: bytes
    caption: str


def draw(pictures: Sequence[Picture], title: str, note: str, path: Path) -> None:
    """Draw all pictures with their captions, in rows, under a title and a note."""
    rows = -(-len(pictures) // COLUMNS) or 1
    size = (COLUMNS * (TILE + GAP) + GAP, HEADER + rows * (TILE + CAPTION + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 12), title, fill=INK, font=ImageFont.load_default(16))
    pen.text((GAP, 33), note, fill=FAINT, font=ImageFont.load_default(12))
    for index, picture in enumerate(pictures):
        row, column = divmod(index, COLUMNS)
        left, top = GAP + column * (TILE + GAP), HEADER + GAP // 2 + row * (TILE + CAPTION + GAP)
        with Image.open(io.BytesIO(picture.content)) as image:
            sheet.paste(image.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS), (left, top))
        pen.text((left, top + TILE + 4), picture.caption, fill=FAINT, font=ImageFont.load_default(11))
    sheet.save(path)
