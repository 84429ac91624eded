"""The command: ``python benchmarks/bank OUT``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in {None, ""}:  # run as a folder: make this folder the package `bank`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bank.build import build
from bank.catalogue import all_tasks
from bank.errors import BankError
from bank.packages import default_cache


def main(arguments: list[str] | None = None) -> int:
    """Parse, build, tell; 0 when every task was made, 1 when some could not be, 2 on an error."""
    parser = argparse.ArgumentParser(prog="python benchmarks/bank", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", help="folder for TASK/CLASS/NNNN.png and manifest.json")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for packages (%(default)s)")
    parser.add_argument("--only", default="*", metavar="GLOB", help="only tasks with such names; commas join globs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--list", action="store_true", help="print names, families and image sizes, and stop")
    options = parser.parse_args(arguments)
    if options.list:
        for task in all_tasks(options.only).values():
            print(f"{task.name}\t{task.family}\t{task.size}")
        return 0
    if options.out is None:
        parser.error("OUT is missing")
    try:
        built = build(options.out, options.cache, options.only, options.seed, options.jobs)
    except BankError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    images = sum(task.images for task in built.laid)
    print(f"{len(built.laid)} tasks, {images} images in {options.out} ({built.seconds:.0f} s)")
    return 1 if built.short else 0


if __name__ == "__main__":
    sys.exit(main())
