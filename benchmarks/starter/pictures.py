"""Every raster picture of an unpacked package, those in game archives (zip) included."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

RASTER = {".png", ".jpg", ".jpeg", ".tga", ".webp", ".bmp"}
ARCHIVES = {".pk3", ".wz", ".zip"}
LEAST_SIDE = 24
"""Smaller pictures are cursors, bullets and blank tiles."""
NOT_PICTURES = ("normal", "_nm.", "_local.", "_norm", "height", "_gloss", "_glow", "lightmap", "specular", "_bump")
"""Parts of names of maps that a renderer reads: their colours are vectors, not what anything looks like."""

Image.MAX_IMAGE_PIXELS = None  # star maps of the named packages are large, and they are no strangers' files


@dataclass(frozen=True)
class Raster:
    """A picture file, or a member of an archive."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """What tells it apart within its package."""
        return f"{self.path.name}!{self.member}" if self.member else str(self.path)

    def open(self) -> Image.Image | None:
        """Open it without decoding; None if Pillow cannot read it or it is too small to show anything."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(io.BytesIO(self._bytes()))
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile):
            return None
        return image if min(image.size) >= LEAST_SIDE else None

    def _bytes(self) -> bytes:
        if not self.member:
            return self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(self.member)


def find_pictures(folder: Path) -> Iterator[Raster]:
    """List the pictures under a folder in the order of their names; links are left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix.lower() in ARCHIVES and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = sorted(archive.namelist())
            yield from (Raster(path, name) for name in names if _wanted(name))
        elif _wanted(str(path)):
            yield Raster(path)


def _wanted(name: str) -> bool:
    last = name.rsplit("/", 1)[-1].lower()
    return Path(last).suffix in RASTER and not any(part in last for part in NOT_PICTURES)
