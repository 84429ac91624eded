"""The built-in extractors and formats pass the suites that plugins are given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import resnet18

from nns.data.extractors import EfficientNetLite0Extractor, ResNet18Extractor
from nns.data.extractors.resnet18 import RESNET18_VARIABLE
from nns.data.formats.folder import FolderFormat
from nns.data.formats.table import TableFormat
from nns.data.formats.torchvision import TorchvisionFormat
from nns.testing import ExtractorContract, FormatContract, tiny_image_folder


class TestEfficientNetLite0(ExtractorContract):
    @pytest.fixture
    def extractor(self):
        return EfficientNetLite0Extractor(batch_size=2)


class TestResNet18(ExtractorContract):
    @pytest.fixture
    def extractor(self, tmp_path, monkeypatch):
        torch.save(resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
        monkeypatch.setenv(RESNET18_VARIABLE, str(tmp_path / "resnet18.pth"))
        return ResNet18Extractor(batch_size=2)


class TestFolder(FormatContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return FolderFormat(), str(tiny_image_folder(tmp_path))


class TestTable(FormatContract):
    @pytest.fixture
    def opened(self, tmp_path):
        images = sorted(tiny_image_folder(tmp_path).rglob("*.png"))
        lines = [f"{image.relative_to(tmp_path)},{image.parent.name}" for image in images]
        (tmp_path / "table.csv").write_text("\n".join(["path,label", *lines]))
        return TableFormat(), str(tmp_path / "table.csv")


class Squares(torchvision.datasets.FakeData):
    """FakeData with less to draw; in a module, so that another process can construct it."""

    def __init__(self) -> None:
        super().__init__(size=12, image_size=(3, 8, 8), num_classes=2)


class TestTorchvision(FormatContract):
    @pytest.fixture
    def opened(self, monkeypatch):
        monkeypatch.setattr(torchvision.datasets, "FakeData", Squares)
        return TorchvisionFormat(), "torchvision:FakeData"


def test_all_built_in_formats_and_extractors_are_tested_here() -> None:
    from nns.data import _builtin

    text = Path(__file__).read_text()
    for home in (*_builtin.EXTRACTORS.values(), *_builtin.FORMATS.values()):
        assert f"{home.partition('.')[2]}(" in text
