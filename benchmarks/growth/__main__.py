"""How nns grows: open, search, fit, verify and build, against 10^2 to 10^7 networks, with slopes and the next wall.

    python -m benchmarks.growth [--whole 6] [--columns 7] [--fit 4] [--folder /tmp] [--output FILE.json]

Complete zoos have up to 10^6 networks, each as a hub describes it (0.9 GB). 10^7 of them would take 9 GB of disk, so
what is measured of 10^7 are columns and embeddings alone, in memory (7 GB, with the index 9). A fit is of networks with
fingerprints, 22 KB each. Rows are made up; nothing is trained. What would take more than --patience seconds by the
last slope is left out, and said so. Files are removed as soon as they are measured.

For two cores leave OMP_NUM_THREADS unset. ``share of bandwidth`` compares with a pass that only reads, in turn in one
run. GROWTH_CLOCK=processor counts processor time in zoos, on a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.growth.made_up import powers, slope
from benchmarks.growth.measures import measure

WHOLE = ("open", "search", "verify", "build")
WALL = 60.0
"""Seconds that are called a wall."""


def main() -> None:
    """Measure, print tables, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", type=int, default=6, help="complete zoos of up to 10 to this")
    parser.add_argument("--columns", type=int, default=7, help="columns and embeddings of up to 10 to this; 0: none")
    parser.add_argument("--fit", type=int, default=4, help="fits of up to 10 to this")
    parser.add_argument("--no-index", action="store_true", help="leave out faiss")
    parser.add_argument("--patience", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {"load": os.getloadavg(), "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory(prefix="nns-growth-", dir=args.folder) as folder:
        found["zoos"] = zoos(Path(folder), args.whole, args.fit, args.patience)
    if args.columns:
        found["columns"] = columns(args.columns, args.rounds, not args.no_index)
    if args.output:
        args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def zoos(folder: Path, whole: int, fit: int, patience: float) -> dict[str, dict[int, float]]:
    """Measure zoos of each size, and print seconds, slopes and walls."""
    rows: dict[str, dict[int, float]] = {}

    def put(what: str, count: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            rows.setdefault(f"{what}: memory" if name == "bytes" else name, {})[count] = value
        print(f"{count:>10,} {what}: " + ", ".join(f"{k} {v:.3g}" for k, v in values.items()), flush=True)

    left_out: set[str] = set()
    for count in powers(2, max(whole, fit)):
        path = folder / "zoo.h5"
        wanted = [what for what in WHOLE if count <= 10**whole] + (["fit"] if count <= 10**fit else [])
        if count <= 10**whole:
            measure("made", path, count)
            rows.setdefault("bytes of the file", {})[count] = path.stat().st_size
        for what in wanted:
            before = [rows[name] for name in rows if name.startswith(what) and "memory" not in name]
            expected = max((values[max(values)] * 10 ** max(slope(values), 1.0) for values in before), default=0.0)
            if what in left_out or expected > patience:
                left_out.add(what)
                print(f"{count:>10,} {what}: left out, some {expected:.0f} s by the slope")
                continue
            put(what, count, measure(what, path, count))
        path.unlink(missing_ok=True)
    _print(rows)
    return rows


def _print(rows: dict[str, dict[int, float]]) -> None:
    counts = sorted({count for values in rows.values() for count in values})
    print(
        "\n| what | " + " | ".join(f"10^{round(np.log10(n))}" for n in counts) + " | slope | a minute, or 16 GB, at |"
    )
    print("| --- |" + " --: |" * (len(counts) + 2))
    for name, values in rows.items():
        if name == "bytes of the file" or "memory" in name:
            cells = [f"{values[n] / 1e6:,.0f} MB" if n in values else "" for n in counts]
            wall = _wall(values, 16e9)
        else:
            cells = [_seconds(values[n]) if n in values else "" for n in counts]
            wall = _wall(values, WALL)
        print(f"| {name} | " + " | ".join(cells) + f" | {slope(values):.2f} | {wall} |")


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2f} s" if value >= 0.1 else f"{1e3 * value:.1f} ms"


def _wall(values: dict[int, float], most: float) -> str:
    """Say of how many networks a number would reach ``most``, if it goes on as between the two largest zoos."""
    steep = slope(values)
    if not steep > 0.05:
        return "never"
    last = max(values)
    return f"{last * (most / values[last]) ** (1 / steep):.1e}"


def columns(largest: int, rounds: int, index: bool) -> dict[str, Any]:
    """Measure passes over columns and embeddings alone, and an index of them."""
    from benchmarks.growth.scan import by_index, exactly, make

    found: dict[str, Any] = {}
    for count in powers(min(5, largest), largest):
        made = make(count, 40)
        found[str(count)] = rows = {"exact": exactly(made, rounds)}
        _print_scan(count, rows["exact"])
        if index:
            rows["index"] = by_index(made, 2)
            _print_scan(count, rows["index"])
        del made
    return found


def _print_scan(count: int, rows: list[dict[str, float | str]]) -> None:
    for row in rows:
        print(
            f"{count:>10,} " + ", ".join(f"{k} {v if isinstance(v, str) else format(v, '.4g')}" for k, v in row.items())
        )
    print(flush=True)


if __name__ == "__main__":
    main()
