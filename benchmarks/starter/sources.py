"""Where the unlabelled pictures come from: Debian packages, and how many crops each gives."""

from __future__ import annotations

import subprocess
from pathlib import Path

PHOTOGRAPHS = {
    "gnome-backgrounds": 4000,
    "plasma-workspace-wallpapers": 10000,
    "mate-backgrounds": 9000,
    "ukui-wallpapers": 5000,
    "lomiri-wallpapers": 300,
    "lomiri-wallpapers-16.04": 6000,
    "lomiri-wallpapers-20.04": 2000,
    "sway-backgrounds": 1200,
}
SURFACES = {
    "ufoai-textures": 10000,
    "openarena-081-textures": 6000,
    "nexuiz-textures": 11000,
    "colobot-common-textures": 2000,
}
SCENES = {
    "supertuxkart-data": 11000,
    "stellarium-data": 5000,
    "marble-data": 2000,
    "kstars-data": 3500,
    "wesnoth-1.16-data": 9000,
    "widelands-data": 7000,
    "unknown-horizons": 7000,
    "freedroidrpg-data": 5000,
    "megaglest-data": 7000,
    "warzone2100-data": 6000,
}
PACKAGES = PHOTOGRAPHS | SURFACES | SCENES
"""Package to the number of crops. A wallpaper of 4K gives hundreds, a sprite one; see :mod:`starter.crops`."""


def kind(package: str) -> str:
    """Name what a package shows."""
    kinds = {"photographs": PHOTOGRAPHS, "surfaces": SURFACES, "scenes": SCENES}
    return next(name for name, packages in kinds.items() if package in packages)


def fetch(folder: Path) -> None:
    """Download and unpack what is missing; nothing is installed.

    Raises:
        subprocess.CalledProcessError: If apt knows no such package (``apt-get update`` first) or has no network.
    """
    archives = folder / ".archives"
    archives.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if (folder / package).is_dir():
            continue
        subprocess.run(["apt-get", "download", "-qq", package], cwd=archives, check=True)
        archive = next(archives.glob(f"{package}_*.deb"))
        temporary = folder / f".{package}"
        subprocess.run(["dpkg-deb", "-x", str(archive), str(temporary)], check=True)
        temporary.rename(folder / package)  # whole or not at all
        archive.unlink()


def licences(package: str, folder: Path) -> list[str]:
    """List the licences that a package's machine-readable copyright file names."""
    path = folder / package / "usr/share/doc" / package / "copyright"
    if not path.exists():
        return ["see the package's copyright file"]
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = {line.split(":", 1)[1].strip() for line in lines if line.startswith("License:")} - {""}
    return sorted(found) or [f"see /usr/share/doc/{package}/copyright"]
