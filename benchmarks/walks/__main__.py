"""Count how far the code walks: functions entered, files, packages, moves between packages, of three commands.

A move is a call or a return that leads from one package of nns (first level below ``nns``) to another, a step one that
leads from one folder to another; what torch, h5py and others do in between is no package of nns. Comprehensions and
lambdas belong to the function that holds them. Counted is the main thread of the second run of each command, when
imports and caches are done, and how often the files of datasets are opened. The commands go through ``nns.cli.main``,
whose contract is stable, so that the same script counts any tree::

    python benchmarks/walks                                     # this tree
    PYTHONPATH=/some/worktree/src python benchmarks/walks       # another one
    python benchmarks/walks --name after                        # write it into walks.json
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
TASKS = {"digits-012": (0, 1, 2), "digits-345": (3, 4, 5), "digits-67": (6, 7), "digits-89": (8, 9)}
PER_CLASS = 24


@dataclass
class Walk:
    """What was entered, and how often the walk went from one package to another."""

    root: str
    functions: set[CodeType] = field(default_factory=set)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    steps: int = 0
    _places: dict[CodeType, tuple[str, str] | None] = field(default_factory=dict)
    _stack: list[tuple[str, str]] = field(default_factory=list)

    def place(self, code: CodeType) -> tuple[str, str] | None:
        """Return package and folder of a named function of nns; a module of the first level counts as both."""
        if code not in self._places:
            self._places[code] = None
            if code.co_filename.startswith(self.root) and not code.co_name.startswith("<"):
                path = Path(code.co_filename[len(self.root) :])
                package = path.parts[0].removesuffix(".py")
                self._places[code] = (package, str(path.parent) if len(path.parts) > 1 else package)
        return self._places[code]

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Follow a call or a return, as ``sys.setprofile`` reports it."""
        if event not in ("call", "return") or (place := self.place(frame.f_code)) is None:
            return
        if event == "call":
            self.functions.add(frame.f_code)
            if self._stack:
                self._move(self._stack[-1], place)
            self._stack.append(place)
        elif self._stack:
            self._stack.pop()
            if self._stack:
                self._move(place, self._stack[-1])

    def _move(self, here: tuple[str, str], there: tuple[str, str]) -> None:
        self.steps += here != there
        if here[0] != there[0]:
            self.moves[here[0], there[0]] += 1

    def document(self) -> dict[str, Any]:
        """Return the counts."""
        files = {code.co_filename for code in self.functions}
        packages = Counter(place[0] for code in self.functions if (place := self.place(code)))
        return {
            "functions": len(self.functions),
            "files": len(files),
            "packages": len(packages),
            "moves": self.moves.total(),
            "steps": self.steps,
            "functions_by_package": dict(packages.most_common()),
        }


class Opened:
    """How often each image is opened, while ``counting``; hooks of ``sys.addaudithook`` cannot be removed."""

    def __init__(self) -> None:
        """Begin to listen."""
        self.counting, self.times = False, Counter[str]()
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note that a file is opened."""
        if self.counting and event == "open" and str(arguments[0]).endswith(".png"):
            self.times[str(arguments[0])] += 1


def nns(*arguments: object) -> None:
    """Run a command in this process."""
    from nns.cli import main

    sys.argv = ["nns", *map(str, arguments)]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        main()
        return
    code = getattr(sys.exception(), "code", 0)
    if code:
        raise RuntimeError(f"{sys.argv}: {out.getvalue()}")


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as folders of classes, 32 px."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for task, digits in TASKS.items():
        for digit in digits:
            (folder / task / str(digit)).mkdir(parents=True)
            for number, pixels in enumerate(found.images[found.target == digit][:PER_CLASS]):
                image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).resize((32, 32))
                image.save(folder / task / str(digit) / f"{number:03d}.png")


def count(root: str, command: list[object], opened: Opened) -> dict[str, Any]:
    """Follow one command."""
    walk = Walk(root)
    opened.counting, opened.times = True, Counter()
    sys.setprofile(walk)
    try:
        nns(*command)
    finally:
        sys.setprofile(None)
        opened.counting = False
    times = opened.times
    return walk.document() | {"images": len(times), "opened": times.total()}


def measure(folder: Path) -> dict[str, dict[str, Any]]:
    """Build a small zoo, then count a search, a fine-tuning of two networks and a build of three."""
    import nns as package

    root = str(Path(str(package.__file__)).parent) + os.sep
    write_digits(folder)
    small = ["--epochs", 1, "--image-size", 32, "--max-images", 40, "--workers", 0, "--transfers", 0]
    data = [folder / name for name in list(TASKS)[:3]]
    zoo, query = folder / "zoo.h5", folder / "digits-89"
    backends = ["ofa", "timm:mobilenetv3_small_050"]
    nns("zoo", "build", zoo, "--data", *data, "--backend", *backends, "--networks", 6, *small)
    nns("space", "fit", zoo, "--epochs", 100)

    def search(turn: int) -> list[object]:
        return ["search", query, "--zoo", zoo, "--json", "--max-params", "50M", "--device", "cpu"]

    def finetune(turn: int) -> list[object]:
        return ["finetune", query, "--zoo", zoo, "--epochs", 2, "--try", 2, "--device", "cpu", "-o",
                folder / f"model{turn}", "--json"]  # fmt: skip

    def build(turn: int) -> list[object]:
        return ["zoo", "build", folder / f"three{turn}.h5", "--data", *data[:2], "--backend", backends[1],
                "--networks", 3, "--no-pretrained", *small, "--json"]  # fmt: skip

    walks, opened = {}, Opened()
    for name, command in {"search": search, "finetune": finetune, "build of three": build}.items():
        nns(*command(0))
        walks[name] = count(root, command(1), opened)
    return walks


def main() -> None:
    """Count, print a table, and write walks.json if a name is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", help="write the counts into walks.json under this name, e.g. after")
    name = parser.parse_args().name
    folder = Path(tempfile.mkdtemp(prefix="walks-"))
    try:
        walks = measure(folder)
    finally:
        shutil.rmtree(folder)
    columns = ("functions", "files", "packages", "moves", "steps", "images", "opened")
    print(f"{'':16}" + "".join(f"{column:>10}" for column in columns))
    for what, found in walks.items():
        print(f"{what:16}" + "".join(f"{found[column]:>10}" for column in columns))
    if name:
        path = HERE / "walks.json"
        document = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(document | {name: walks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
