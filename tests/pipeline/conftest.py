"""A zoo of plain networks on two tiny datasets: built within this process in seconds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nns import BuildSettings, build_zoo, load_plugins
from nns.pipeline.build import BuildReport
from nns.testing import tiny_image_folder


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
    return PlainZoo(folder / "zoo.h5", settings, build_zoo(folder / "zoo.h5", settings, load_plugins(), workers=0))
