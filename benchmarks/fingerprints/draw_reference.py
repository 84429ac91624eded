"""Draw the reference images that stand for letters, icons and emoji: 32 tiles of 96 px in one PNG.

    python benchmarks/fingerprints/draw_reference.py src/nns/networks/fingerprints/drawings.png

The sheet is kept in the package, since another FreeType would draw other pixels and fingerprints would no longer
compare: run this only together with a new REFERENCE_VERSION.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 96
COLUMNS = 8
LETTERS = "AQeg58kWsR&mZ%xB"
DRAWINGS = 16
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def letter(character: str, size: int, inverted: bool, angle: int) -> Image.Image:
    """Draw one letter of Pillow's own font (Aileron, CC0), turned a little; every fourth white on black."""
    ground, ink = (BLACK, WHITE) if inverted else (WHITE, BLACK)
    tile = Image.new("RGB", (SIDE, SIDE), ground)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(tile).text((SIDE / 2, SIDE / 2), character, font=font, fill=ink, anchor="mm")
    return tile.rotate(angle, fillcolor=ground)


def drawing(number: int, rng: np.random.Generator) -> Image.Image:
    """Draw a face, a window-like icon or a polygon, in random colours on white."""
    tile = Image.new("RGB", (SIDE, SIDE), WHITE)
    draw = ImageDraw.Draw(tile)

    def colour() -> tuple[int, int, int]:
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        return red, green, blue

    if number % 3 == 0:
        draw.ellipse((8, 8, 88, 88), fill=(255, 205, 60))
        for left in (30, 56):
            draw.ellipse((left, 34, left + 10, 46), fill=(60, 40, 20))
        draw.arc((28, 40, 68, 74), 20, 160, fill=(60, 40, 20), width=4)
        for _ in range(number // 3):
            x, y = rng.integers(0, 80, 2).tolist()
            draw.ellipse((x, y, x + 12, y + 12), fill=colour())
    elif number % 3 == 1:
        draw.rounded_rectangle((10, 14, 86, 82), 10, fill=colour(), outline=(60, 60, 60), width=2)
        for _ in range(4):
            x, y = rng.integers(16, 60, 2).tolist()
            draw.rectangle((x, y, x + 18, y + 6), fill=colour())
    else:
        corners = [(int(x), int(y)) for x, y in rng.integers(8, 88, (5, 2))]
        draw.polygon(corners, fill=colour())
        draw.line([*corners, corners[0]], fill=(40, 40, 40), width=3)
    return tile


def main() -> None:
    """Draw the sheet."""
    rng = np.random.default_rng(5)
    tiles = [
        letter(character, int(rng.integers(36, 72)), index % 4 == 3, int(rng.integers(-12, 12)))
        for index, character in enumerate(LETTERS)
    ]
    tiles += [drawing(number, rng) for number in range(DRAWINGS)]
    sheet = Image.new("RGB", (COLUMNS * SIDE, len(tiles) // COLUMNS * SIDE))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % COLUMNS * SIDE, index // COLUMNS * SIDE))
    sheet.save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
