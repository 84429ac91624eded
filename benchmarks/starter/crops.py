"""Step 1: pictures of the bank and crops of the packages as arrays, one folder a source, then all of them shuffled."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from starter import cutting, sources
from starter.cutting import SIZES
from starter.excluded import KIN, Twins, is_held, measuring_tasks
from starter.pictures import Raster, find_pictures

SEED = 0
CHUNK = 4096
"""Pictures that are moved at once when all sources are put together."""


def cut_package(package: str, packages: Path, out: Path) -> None:
    """Cut one package's crops, unless they are there."""
    target = out / "sources" / package
    if target.is_dir():
        return
    began = time.perf_counter()
    rng = np.random.default_rng([SEED, *package.encode()])
    pictures = [(raster, image.size) for raster in find_pictures(packages / package) if (image := raster.open())]
    weights = np.array([cutting.weight(size) for _, size in pictures])
    expected = sources.PACKAGES[package] * weights / weights.sum()
    counts = np.floor(expected + rng.random(len(expected))).astype(int)
    found: list[list[NDArray[np.uint8]]] = []
    for (raster, _), count in zip(pictures, counts, strict=True):
        found += _cut_picture(raster, int(count), rng)
    about = {"kind": sources.kind(package), "pictures": len(pictures), "licences": sources.licences(package, packages)}
    _write_source(target, found, about, began)


def _cut_picture(raster: Raster, count: int, rng: np.random.Generator) -> list[list[NDArray[np.uint8]]]:
    image = raster.open() if count else None
    if image is None:
        return []
    try:
        return list(cutting.cut(image, count, rng))
    except (OSError, ValueError, SyntaxError):  # cut off or in a dialect that Pillow does not decode
        return []


def cut_task(task: str, bank: Path, out: Path) -> None:
    """Read one task of the bank on white, unless that is done; its classes are kept beside the pictures."""
    target = out / "sources" / f"bank-{task}"
    if target.is_dir():
        return
    began = time.perf_counter()
    files = sorted((bank / task).glob("*/*.png"))
    names = sorted({path.parent.name for path in files})
    found = [_read_task_image(path) for path in files]
    labels = np.array([names.index(path.parent.name) for path in files], dtype=np.int16)
    _write_source(target, found, {"kind": "bank", "classes": len(names), "held": is_held(task)}, began, labels)


def _read_task_image(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(path) as opened:
        image = opened.convert("RGBA" if opened.mode in {"RGBA", "LA", "P"} else "RGB")
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return [np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)) for size in SIZES]


def _write_source(
    target: Path, found: list[list[NDArray[np.uint8]]], about: dict[str, Any], began: float, labels: Any = None
) -> None:
    temporary = target.with_name(f".{target.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for place, size in enumerate(SIZES):
        np.save(temporary / f"{size}.npy", np.stack([images[place] for images in found]))
    np.save(temporary / "labels.npy", np.full(len(found), -1, np.int16) if labels is None else labels)
    about |= {"images": len(found), "seconds": round(time.perf_counter() - began, 1)}
    (temporary / "about.json").write_text(json.dumps(about))
    temporary.rename(target)  # whole or not at all
    print(f"{target.name}: {about}", flush=True)


def join(out: Path) -> None:
    """Put all sources that may be learned from into one array a size, in random order, without twins of what is held.

    The order is random so that any beginning of the arrays is a fair sample of all.
    """
    folders = sorted(path for path in (out / "sources").iterdir() if not path.name.startswith("."))
    about = {folder.name: json.loads((folder / "about.json").read_text()) for folder in folders}
    held = [folder for folder in folders if about[folder.name].get("held")]
    missing = measuring_tasks() - {folder.name.removeprefix("bank-") for folder in held}
    if missing:
        raise SystemExit(f"not read, so it cannot be left out: {', '.join(sorted(missing))}")
    twins = Twins(np.concatenate([np.load(folder / "64.npy") for folder in held]))
    kept: list[tuple[Path, NDArray[np.int64]]] = []
    seen: set[bytes] = set()
    for folder in (folder for folder in folders if folder not in held):
        images = np.load(folder / "64.npy")
        out_of_it = twins.find(images) | _repeated(images, seen)
        kept.append((folder, np.flatnonzero(~out_of_it)))
        about[folder.name] |= {"left out": int(out_of_it.sum()), "used": int((~out_of_it).sum())}
    total = sum(len(rows) for _, rows in kept)
    order = np.random.default_rng(SEED).permutation(total)
    for size in SIZES:
        _scatter(kept, order, size, out / f"images{size}.npy")
    _write_index(kept, order, out)
    kinds: dict[str, int] = {}
    for folder, rows in kept:
        kinds[about[folder.name]["kind"]] = kinds.get(about[folder.name]["kind"], 0) + len(rows)
    manifest = {"images": total, "kinds": kinds, "held globs": KIN, "sources": about}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1))
    print(f"{total} images: {kinds}", flush=True)


def _repeated(images: NDArray[np.uint8], seen: set[bytes]) -> NDArray[np.bool_]:
    """Mark pictures that an earlier source had, (n,)."""
    from starter.excluded import digests

    result = []
    for digest in digests(images):
        result.append(digest in seen)
        seen.add(digest)
    return np.array(result, dtype=bool)


def _scatter(kept: list[tuple[Path, NDArray[np.int64]]], order: NDArray[np.int64], size: int, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    joined = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(order), size, size, 3))
    for rows, places in _places(kept, order, lambda folder: np.load(folder / f"{size}.npy", mmap_mode="r")):
        joined[places] = rows
    joined.flush()
    temporary.rename(path)


def _places(kept: Any, order: NDArray[np.int64], load: Any) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    start = 0
    for folder, rows in kept:
        array = load(folder)
        for first in range(0, len(rows), CHUNK):
            part = rows[first : first + CHUNK]
            yield array[part], order[start + first : start + first + len(part)]
        start += len(rows)


def _write_index(kept: Any, order: NDArray[np.int64], out: Path) -> None:
    """Write of each picture which source it is of, and its class within that task (-1: none)."""
    source, label = np.empty(len(order), np.int16), np.empty(len(order), np.int16)
    for number, (folder, rows) in enumerate(kept):
        start = sum(len(earlier) for _, earlier in kept[:number])
        places = order[start : start + len(rows)]
        source[places], label[places] = number, np.load(folder / "labels.npy")[rows]
    np.savez(out / "index.npz", source=source, label=label, names=np.array([folder.name for folder, _ in kept]))


def main(packages: Path, bank: Path, out: Path) -> None:
    """Run what is missing."""
    sources.fetch(packages)
    for package in sources.PACKAGES:
        cut_package(package, packages, out)
    for task in sorted(path.name for path in bank.iterdir() if path.is_dir() and not path.name.startswith(".")):
        cut_task(task, bank, out)
    if not (out / "manifest.json").exists():
        join(out)
