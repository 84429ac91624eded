"""torchvision's datasets by name, without the network."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nns.data import Dataset
from nns.data.formats.torchvision import open_torchvision
from nns.errors import DatasetError

datasets = pytest.importorskip("torchvision.datasets")


def write_mnist(root: Path, counts: dict[str, int]) -> None:
    """Write files in MNIST's format: one-coloured images of two digits."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in counts.items():
        labels = np.arange(count, dtype=np.uint8) % 2
        pixels = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28) + (100 if prefix == "t10k" else 0)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels.tobytes())
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels.astype(np.uint8).tobytes())


def test_mnist_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, {"train": 20, "t10k": 6})
    monkeypatch.setenv("NNS_TORCHVISION_ROOT", str(tmp_path))
    dataset = Dataset.open("torchvision:MNIST")
    assert dataset.name == "MNIST"
    assert dataset.classes == ("0 - zero", "1 - one")
    assert dataset.splits == ("train", "test")
    assert len(dataset) == 26
    arrays, skipped = dataset.decode_splits(8)
    assert skipped == ()
    assert arrays.test is not None
    assert [len(arrays.train), len(arrays.val), len(arrays.test)] == [16, 4, 6]
    assert arrays.test.images[3].min() == 103
    assert dataset.digest == open_torchvision("MNIST", "torchvision:MNIST", tmp_path).digest
    assert len(dataset.sample(per_class=4)) == 8


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DatasetError) as caught:
        open_torchvision("MNIST", "torchvision:MNIST", tmp_path / "cache")
    message = str(caught.value)
    assert "torchvision:MNIST" in message
    assert "NNS_TORCHVISION_ROOT" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "hint"), [("MINST", "did you mean torchvision:MNIST?"), ("", "names"), ("ImageFolder", "")]
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(DatasetError, match="has no dataset") as caught:
        Dataset.open(f"torchvision:{name}")
    assert hint in str(caught.value)


class Small(datasets.FakeData):  # type: ignore[misc, name-defined]
    """FakeData with less to draw."""

    def __init__(self) -> None:
        super().__init__(size=12, image_size=(3, 8, 8), num_classes=2)


def test_fake_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "FakeData", Small)
    dataset = Dataset.open("torchvision:FakeData", require_labels=False)
    assert len(dataset) == 12
    assert dataset.splits == ()
    images, kept, skipped = dataset.decode(range(12), 8)
    assert images.shape == (12, 3, 8, 8)
    assert len(kept) == 12
    assert skipped == ()


def test_splits_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pets(Small):
        def __init__(self, root: str, split: str = "trainval", download: bool = False) -> None:
            if split not in ("trainval", "test"):
                raise ValueError(f"Unknown value '{split}' for argument split.")
            super().__init__()
            self.random_offset = 1000 * (split == "test")
            self.classes = ["dog", "cat"]

    monkeypatch.setattr(datasets, "OxfordIIITPet", Pets)
    dataset = Dataset.open("torchvision:OxfordIIITPet", require_labels=False)
    assert dataset.splits == ("train", "test")
    assert dataset.classes == ("cat", "dog")


def test_what_is_not_for_classification_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Boxes(Small):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return super().__getitem__(index)[0], {"box": [0, 0, 1, 1]}

    monkeypatch.setattr(datasets, "FakeData", Boxes)
    with pytest.raises(DatasetError, match="one class an image"):
        Dataset.open("torchvision:FakeData")
