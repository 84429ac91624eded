"""One small real zoo for all tests, built once a run; and a way to run ``nns`` within this process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from nns.backends import timm as timm_backend

if TYPE_CHECKING:
    from nns import BuildSettings
    from nns.building import BuildReport

# what tests fine-tune is nobody's history; those of the history name a file of their own
os.environ["NNS_HISTORY"] = "off"

# what is compared with itself must not depend on what else the machine does; tests of threads say their own number
os.environ.setdefault("OMP_NUM_THREADS", "1")

# each EfficientNet-Lite cut after three stages would make the small zoos of all tests nine networks larger; what is
# about those networks asks for the fixture `cuts`
CUT_AFTER, timm_backend.CUT_AFTER = timm_backend.CUT_AFTER, ()

# a busy machine is no reason to fail
settings.register_profile("nns", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nns")

ZOO_TASKS = {"digits-012": (0, 1, 2), "digits-345": (3, 4, 5), "digits-67": (6, 7)}
QUERY_TASK = {"digits-89": (8, 9)}
PER_CLASS = 24
BACKENDS = ("ofa", "timm:mobilenetv3_small_050", "example")


@dataclass(frozen=True)
class SmallZoo:
    """A zoo of 9 networks trained on scikit-learn's digits and 3 of ImageNet, with the space ``mixed``.

    Shared by all tests: copy the file (:meth:`copy`) before anything is written to it.
    """

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "zoo.h5"

    @property
    def data(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in ZOO_TASKS)

    @property
    def query(self) -> Path:
        return self.folder / "digits-89"

    @property
    def image(self) -> Path:
        """An image of a digit 9."""
        return self.query / "9" / "000.png"

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copy(self.path, folder / "zoo.h5"))


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks that are cut after a stage be offered, as they are outside of tests."""
    monkeypatch.setattr(timm_backend, "CUT_AFTER", CUT_AFTER)


@pytest.fixture(scope="session")
def small_zoo(tmp_path_factory: pytest.TempPathFactory) -> SmallZoo:
    """The zoo; with pytest-xdist the first worker that needs it builds it, the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    zoo = SmallZoo(shared / "small-zoo")
    with _locked(shared / "small-zoo.lock"):
        if not zoo.folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=shared))
            _build(SmallZoo(unfinished))
            unfinished.rename(zoo.folder)
    return zoo


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first builds the zoo, and others may wait for it: let them take their time."""
    for item in items:
        if "small_zoo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(zoo: SmallZoo) -> None:
    from nns import BuildSettings, Space, Zoo, build_zoo
    from nns.building import SearchSpace

    for name, digits in (ZOO_TASKS | QUERY_TASK).items():
        _write_digits(zoo.folder / name, digits)
    what = BuildSettings(
        data=tuple(map(str, zoo.data)),
        backends=BACKENDS,
        strategy="all",
        spaces={"ofa": SearchSpace(candidates=1), "example": SearchSpace(candidates=1)},
        image_size=32,
        max_images=40,
        epochs=1,
        transfers=0,
    )
    report = build_zoo(zoo.path, what, workers=0)
    assert not report.failed, report.failed
    with Zoo(zoo.path) as opened:
        Space.fit(opened, epochs=100)


def _write_digits(folder: Path, digits: Sequence[int], per_class: int = PER_CLASS) -> Path:
    """Write ``folder/CLASS/NNN.png``, 32 px, with pixels of scikit-learn's digits."""
    import numpy as np
    from PIL import Image

    images, targets = _digits()
    for digit in digits:
        (folder / str(digit)).mkdir(parents=True)
        for number, pixels in enumerate(images[targets == digit][:per_class]):
            image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).resize((32, 32))
            image.save(folder / str(digit) / f"{number:03d}.png")
    return folder


@cache
def _digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images, found.target


@pytest.fixture(scope="session")
def write_digits() -> Callable[..., Path]:
    """Lay out digits as class folders: ``write_digits(folder, (8, 9), per_class=6)``."""
    return _write_digits


@dataclass(frozen=True)
class Ran:
    """What a run of ``nns`` came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


RunNns = Callable[..., Ran]


@pytest.fixture
def nns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunNns:
    """Run the command line in this process, as ``nns("search", folder, "--json")``."""
    from nns.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NNS_ZOO", raising=False)
    monkeypatch.setattr("nns.cli.output.SAY_EVERY", 1e6)  # else a slow machine says more than a fast one

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["nns", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


@dataclass(frozen=True)
class PlainZoo:
    """A finished build, to be copied before it is changed."""

    path: Path
    settings: BuildSettings
    report: BuildReport

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copy(self.path, folder / "zoo.h5"))

    def with_(self, **changes: object) -> BuildSettings:
        return replace(self.settings, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def plain_zoo(tmp_path_factory: pytest.TempPathFactory) -> PlainZoo:
    """A zoo of plain networks on two tiny datasets: built within this process in seconds."""
    from nns import BuildSettings, build_zoo
    from nns.testing import tiny_image_folder

    folder = tmp_path_factory.mktemp("plain-zoo")
    data = [tiny_image_folder(folder / name, classes=2, per_class=6, seed=seed) for seed, name in enumerate("ab")]
    settings = BuildSettings(
        data=tuple(map(str, data)),
        backends=("example",),
        networks=4,
        image_size=16,
        pretrained=False,
        epochs=1,
        transfers=0,
    )
    return PlainZoo(folder / "zoo.h5", settings, build_zoo(folder / "zoo.h5", settings, workers=0))


@pytest.fixture
def search(nns: RunNns, small_zoo: SmallZoo) -> RunNns:
    """Search the small zoo for its query dataset, as ``search("--top", 3)``."""

    def run(*arguments: object) -> Ran:
        return nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json", *arguments)

    return run
