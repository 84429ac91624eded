"""Lay one task out as folders: draw, drop blanks and duplicates, write, digest, rename."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from PIL import Image

from bank.drawing import Picture, is_blank, on_white
from bank.errors import ShortTaskError
from bank.packages import Shelf
from bank.task import MAX_IMAGES, MIN_CLASSES, MIN_IMAGES, Task
from bank.tools import tool_versions

RECORDS = ".tasks"
FORMAT = 1


@dataclass(frozen=True)
class Laid:
    """The record of a task that is laid out; one entry of the manifest.

    Attributes:
        classes: images per class.
        digest: sha256 over the sorted pairs of class and sha256 of the file's bytes.
        recipe: sha256 of what decides the digest (seed, package versions, task); a change means: draw anew.
    """

    name: str
    family: str
    sources: dict[str, str]
    classes: dict[str, int]
    images: int
    size: int
    bytes: int
    digest: str
    recipe: str
    seed: int
    format: int = FORMAT


def lay_out(task: Task, shelf: Shelf, out: Path, seed: int) -> Laid:
    """Write ``out/TASK/CLASS/NNNN.png`` and the task's record, or keep them when they are already right.

    Raises:
        ShortTaskError: too few classes or images are left.
    """
    recipe = _recipe(task, shelf, seed)
    kept = read_record(out, task.name)
    if kept and kept.recipe == recipe and digest_folder(out / task.name) == kept.digest:
        return kept
    images = _draw_task(task, shelf, seed)
    total = sum(len(files) for files in images.values())
    if len(images) < MIN_CLASSES or total < MIN_IMAGES:
        raise ShortTaskError(f"{task.name}: {len(images)} classes, {total} images left; too few")
    digest = _digest([(label, data) for label, files in images.items() for data in files])
    if digest_folder(out / task.name) != digest:  # the same pictures stay, for whoever is reading them
        _write(images, out / task.name)
    laid = Laid(
        name=task.name,
        family=task.family,
        sources={f"{source.kind}:{source.name}": shelf.version(source) for source in task.sources},
        classes={label: len(files) for label, files in sorted(images.items())},
        images=total,
        size=task.size,
        bytes=sum(len(data) for files in images.values() for data in files),
        digest=digest,
        recipe=recipe,
        seed=seed,
    )
    write_json(out / RECORDS / f"{task.name}.json", asdict(laid))
    return laid


def read_record(out: Path, name: str) -> Laid | None:
    """The record of a task laid out earlier, None when there is none of this format."""
    try:
        record = json.loads((out / RECORDS / f"{name}.json").read_text())
        return Laid(**record) if record["format"] == FORMAT else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def digest_folder(folder: Path) -> str:
    """Sha256 over the sorted pairs (class, sha256 of the file's bytes); empty for no folder."""
    return _digest([(path.parent.name, path.read_bytes()) for path in folder.glob("*/*")])


def _digest(files: list[tuple[str, bytes]]) -> str:
    lines = sorted(f"{label} {hashlib.sha256(data).hexdigest()}" for label, data in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def write_json(path: Path, value: object) -> None:
    """Write whole, to a temporary name, and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(path)


def _draw_task(task: Task, shelf: Shelf, seed: int) -> dict[str, list[bytes]]:
    """PNG bytes by class. A picture seen before in the task is dropped, whichever class it was in."""
    seen: set[bytes] = set()
    found: dict[str, list[bytes]] = {}
    collected = task.collect(shelf)
    for label in sorted(collected):
        pictures = _shuffled(collected[label], f"{seed}/{task.name}/{label}")
        files = _draw_class(task, shelf, pictures, f"{seed}/{task.name}/{label}", seen)
        if len(files) >= task.min_per_class:
            found[label] = files
    kept = sorted(found, key=lambda label: (-len(found[label]), label))[: task.max_classes]
    return {label: found[label][: MAX_IMAGES // len(kept)] for label in sorted(kept)}


def _draw_class(task: Task, shelf: Shelf, pictures: list[Picture], seed: str, seen: set[bytes]) -> list[bytes]:
    files: list[bytes] = []
    for picture in pictures:
        if len(files) >= task.per_class:
            break
        image = picture.draw(shelf, task.size, Random(f"{seed}/{picture.key}"))
        if image is None or is_blank(image):
            continue
        shown = hashlib.sha256(on_white(image).convert("RGB").tobytes()).digest()
        if shown not in seen:
            seen.add(shown)
            files.append(_png(image))
    return files


def _shuffled(pictures: Sequence[Picture], seed: str) -> list[Picture]:
    ordered = sorted(pictures, key=lambda picture: picture.key)
    Random(seed).shuffle(ordered)
    return ordered


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write(images: dict[str, list[bytes]], folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    for label, files in images.items():
        (temporary / label).mkdir(parents=True)
        for number, data in enumerate(files):
            (temporary / label / f"{number:04}.png").write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _recipe(task: Task, shelf: Shelf, seed: int) -> str:
    parts = {
        "format": FORMAT,
        "seed": seed,
        "task": [task.name, task.size, task.per_class, task.min_per_class, task.max_classes],
        "collect": repr(task.collect),
        "sources": {f"{source.kind}:{source.name}": shelf.version(source) for source in task.sources},
        "tools": tool_versions(shelf),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
