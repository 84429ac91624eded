"""Room for decoded images: memory, else a file mapped into it, else none.

A file needs no memory of its own: the kernel writes its pages out and forgets them when others need the room. It has no
name, so that it goes with the process, however that ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEMORY_SHARE = 0.4
"""Share of the memory that is available up to which images are held in it: a training needs the rest."""

ALWAYS_HELD = 64 * 2**20
"""Bytes of images that are held in memory anyway."""

DISK_LEFT = 2**30
"""Bytes of a disk that are left to others."""

_ROOT = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_IN_MEMORY = {"tmpfs", "ramfs"}


def array_for(images: int, size: int) -> NDArray[np.uint8] | None:
    """Return an array for decoded images, (images, 3, size, size) uint8; None if neither memory nor disk has room."""
    shape = (images, 3, size, size)
    needed = images * 3 * size * size
    if needed <= max(ALWAYS_HELD, MEMORY_SHARE * available_memory()):
        return np.empty(shape, np.uint8)
    return _mapped(shape, needed)


def _mapped(shape: tuple[int, ...], needed: int) -> NDArray[np.uint8] | None:
    from platformdirs import user_cache_path

    folder = user_cache_path("nns", appauthor=False) / "decoded"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < needed + DISK_LEFT or _is_in_memory(folder):
            return None
        with tempfile.TemporaryFile(dir=folder) as file:
            # now, with an error that can be met: a full disk under a mapped page ends the process
            os.posix_fallocate(file.fileno(), 0, needed)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except (OSError, AttributeError):  # nothing may be written there; no such call on this system
        return None


def available_memory() -> float:
    """Return the bytes that this process can still take: of the machine, or of the container or job that it is in."""
    return min([_of_machine(), *_of_groups()])


def _of_machine() -> float:
    try:
        return float(_numbers(_PROC / "meminfo")["MemAvailable:"]) * 1024
    except (OSError, KeyError):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
        except (OSError, ValueError, AttributeError):
            return float("inf")


def _of_groups() -> list[float]:
    """Return what each control group that this process is in has left; cached pages of files are given up for others.

    The first version of the control groups says what all above a group allow, of the second each is asked.
    """
    left: list[float] = []
    try:
        rows = [line.split(":", 2) for line in (_PROC / "self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    for _, controllers, path in rows:
        if controllers == "memory":
            # a container sees its own group as the root, under the name that it has outside
            folder = next((f for f in (_ROOT / "memory" / path.lstrip("/"), _ROOT / "memory") if f.is_dir()), _ROOT)
            left += _left(folder, "memory.usage_in_bytes", None, "total_")
        elif not controllers:
            folder = _ROOT / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group.is_relative_to(_ROOT):
                    left += _left(group, "memory.current", "memory.max", "")
    return left


def _left(group: Path, usage: str, limit: str | None, prefix: str) -> list[float]:
    try:
        stat = _numbers(group / "memory.stat")
        allowed = stat["hierarchical_memory_limit"] if limit is None else int((group / limit).read_text())
        cached = stat[f"{prefix}inactive_file"] + stat[f"{prefix}active_file"]
        return [max(0.0, allowed - int((group / usage).read_text()) + cached)]
    except (OSError, KeyError, ValueError):  # no such group here, or no limit: "max"
        return []


def _numbers(file: Path) -> dict[str, int]:
    """Read a file of names and numbers."""
    rows = [line.split() for line in file.read_text().splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _is_in_memory(folder: Path) -> bool:
    """Return whether a folder is on a file system that lives in memory."""
    try:
        device = folder.stat().st_dev
        rows = [line.split() for line in (_PROC / "self/mountinfo").read_text().splitlines()]
    except OSError:
        return False
    kinds = {row[2]: row[row.index("-") + 1] for row in rows}
    return kinds.get(f"{os.major(device)}:{os.minor(device)}") in _IN_MEMORY


def move_rows(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """Put the images of ``rows`` first, in this order, in place: a copy of all would take as much room again.

    Args:
        images: (n, ...); what is not in ``rows`` comes in any order afterwards.
        rows: (m,) different positions.
    """
    others = np.setdiff1d(np.arange(len(images)), rows)
    source = np.concatenate([rows, others])  # of each position: where its image comes from
    done = source == np.arange(len(images))
    for start in np.flatnonzero(~done):
        if done[start]:
            continue
        first, at = images[start].copy(), start
        while source[at] != start:
            images[at] = images[source[at]]
            done[at] = True
            at = source[at]
        images[at] = first
        done[at] = True
