"""Typefaces on the shelf: which characters each has, its family, weight and slant; indexed once a package."""

from __future__ import annotations

import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from bank.drawing import relative
from bank.packages import Shelf, Source
from bank.tools import FONTTOOLS, load_tool

_PICTURE_FONTS = re.compile(r"dingbat|symbol|webding|wingding|icon|emoji|musix|barcode|tofu", re.IGNORECASE)


@dataclass(frozen=True)
class Face:
    """One typeface of a font file.

    Attributes:
        path: file, relative to the shelf.
        number: index in a collection, 0 for a single font.
        ranges: characters it draws, as (first, last) code points.
        weight: 100 to 900, 400 is regular.
    """

    package: str
    path: str
    number: int
    family: str
    weight: int
    italic: bool
    ranges: tuple[tuple[int, int], ...]

    @property
    def key(self) -> str:
        return f"{self.package}/{Path(self.path).name}#{self.number}"

    def has(self, text: str) -> bool:
        """True when the face has every character of the text."""
        return all(ord(character) in self._codes for character in text)

    @cached_property
    def _codes(self) -> frozenset[int]:
        return frozenset(code for first, last in self.ranges for code in range(first, last + 1))


def faces_of(shelf: Shelf, packages: Iterable[str], per_family: int = 4) -> list[Face]:
    """Faces of the packages, at most ``per_family`` of one family, pictures posing as letters left out."""
    families: dict[str, list[Face]] = defaultdict(list)
    named: set[tuple[str, int, bool]] = set()
    for package in packages:
        for face in package_faces(shelf, package):
            name = (face.family, face.weight, face.italic)
            if name in named and "Noto" not in face.family:
                continue
            named.add(name)
            families[face.family].append(face)
    return [face for family in sorted(families) for face in families[family][:per_family]]


@lru_cache(maxsize=1024)
def package_faces(shelf: Shelf, package: str) -> tuple[Face, ...]:
    """All faces of one package, plain before bold before italic; from the index when there is one."""
    source = Source("deb", package)
    version = shelf.version(source)
    if version == "missing":
        return ()
    index = shelf.root / "faces" / f"{package}.json"
    try:
        stored = json.loads(index.read_text())
    except (FileNotFoundError, ValueError):
        stored = {}
    if stored.get("version") != version:
        faces = sorted(_read_faces(shelf, package), key=lambda face: (face.italic, face.weight, face.path))
        stored = {"version": version, "faces": [asdict(face) for face in faces]}
        index.parent.mkdir(parents=True, exist_ok=True)
        temporary = index.with_suffix(f".tmp{os.getpid()}")
        temporary.write_text(json.dumps(stored))
        temporary.rename(index)
    return tuple(_face(record) for record in stored["faces"])


def _face(record: dict[str, object]) -> Face:
    ranges = tuple((first, last) for first, last in record.pop("ranges"))  # type: ignore[attr-defined]
    return Face(ranges=ranges, **record)  # type: ignore[arg-type]


def _read_faces(shelf: Shelf, package: str) -> Iterator[Face]:
    load_tool(shelf, FONTTOOLS)
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # old fonts have odd timestamps
    folder = shelf.path(Source("deb", package))
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {".ttf", ".otf", ".ttc"} and path.is_file() and not path.is_symlink():
            yield from _read_file(shelf, package, path)


def _read_file(shelf: Shelf, package: str, path: Path) -> Iterator[Face]:
    from fontTools.ttLib import (  # type: ignore[import-not-found,unused-ignore]
        TTCollection,
        TTFont,
        TTLibError,
    )

    try:
        collection = path.suffix.lower() == ".ttc"
        fonts = TTCollection(path, lazy=True).fonts if collection else [TTFont(path, lazy=True)]
        for number, font in enumerate(fonts):
            family = font["name"].getBestFamilyName() or path.stem
            if _PICTURE_FONTS.search(family) and "symbola" not in family.lower():
                continue
            empty = set(font.getGlyphOrder()[:1])
            codes = [code for code, glyph in (font.getBestCmap() or {}).items() if glyph not in empty]
            yield Face(
                package=package,
                path=relative(path, shelf.root),
                number=number,
                family=family,
                weight=_weight(font, path),
                italic=_italic(font, path),
                ranges=_ranges(sorted(codes)),
            )
    except (TTLibError, KeyError, AssertionError, OSError, ValueError, AttributeError, IndexError):
        return  # an odd old file is no loss among two thousand


def _weight(font: object, path: Path) -> int:
    if re.search(r"bold|heavy|black", path.stem, re.IGNORECASE):
        return 700
    if re.search(r"light|thin", path.stem, re.IGNORECASE):
        return 300
    weight = int(font["OS/2"].usWeightClass) if "OS/2" in font else 400  # type: ignore[index,operator]
    return weight if weight >= 100 else 400


def _italic(font: object, path: Path) -> bool:
    named = re.search(r"italic|oblique|slanted", path.stem, re.IGNORECASE)
    return bool(named) or bool(font["head"].macStyle & 2)  # type: ignore[index]


def _ranges(codes: list[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return tuple(ranges)
