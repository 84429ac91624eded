"""The conformance suite of data formats.

An implementer derives from :class:`FormatContract` and supplies one fixture, a format and DATA that it opens, with at
least three images in each of two classes::

    class TestMyFormat(FormatContract):
        @pytest.fixture
        def opened(self, tmp_path):
            return MyFormat(), write_some_data(tmp_path)
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nns.data import Dataset
from nns.data.checks import check_trainable
from nns.data.formats import Format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Opened = tuple[Format, str]


class FormatContract:
    """What all of nns relies on; derive from it and supply the fixture ``opened``."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opened:
        """The format under test, and DATA that it opens."""
        raise NotImplementedError("supply a fixture named opened: a format, and DATA")

    def test_opens_what_it_says_it_can(self, opened: Opened) -> None:
        """DATA can be opened, and gives a dataset that can be trained on."""
        format, data = opened
        assert format.example
        assert format.can_open(data)
        dataset = format.open(data)
        assert dataset.path == data
        assert dataset.name
        check_trainable(dataset)

    def test_leaves_to_others_what_it_cannot_open(self, opened: Opened, tmp_path: Path) -> None:
        """Neither nothing, nor what is not there, nor any file is its own."""
        format, _ = opened
        stray = tmp_path / "stray.bin"
        stray.write_bytes(b"neither image nor table")
        for data in ("", str(tmp_path / "nothing-there"), str(stray)):
            assert not format.can_open(data)

    def test_items_are_whole(self, opened: Opened) -> None:
        """Labels are classes, splits are given for all images or none, keys tell images apart."""
        format, data = opened
        dataset = format.open(data)
        assert list(dataset.classes) == sorted(set(dataset.classes))
        assert set(dataset.labels.tolist()) == set(range(len(dataset.classes)))
        assert len({item.key for item in dataset.items}) == len(dataset)
        assert all(item.split for item in dataset.items) or not any(item.split for item in dataset.items)

    def test_is_the_same_again(self, opened: Opened) -> None:
        """Opening twice gives the same digest and sample."""
        format, data = opened
        first, second = format.open(data), format.open(data)
        assert first.digest == second.digest
        assert first.sample().tolist() == second.sample().tolist()

    def test_every_image_decodes(self, opened: Opened) -> None:
        """The images are images."""
        format, data = opened
        dataset = format.open(data)
        images, kept, skipped = dataset.decode(range(len(dataset)), 16)
        assert images.shape == (len(dataset), 3, 16, 16)
        assert (len(kept), skipped) == (len(dataset), ())

    def test_travels_to_a_worker(self, opened: Opened, tmp_path: Path) -> None:
        """In another process, it has the same digest and decodes the same in another working folder."""
        format, data = opened
        dataset = format.open(data)
        digest, (images, _, _) = dataset.digest, dataset.decode(range(len(dataset)), 16)
        with ProcessPoolExecutor(1) as worker:
            found, decoded = worker.submit(_decode_elsewhere, dataset, os.fspath(tmp_path.parent)).result()
        assert found == digest
        assert (decoded == images).all()


def _decode_elsewhere(dataset: Dataset, folder: str) -> tuple[str, NDArray[np.uint8]]:
    os.chdir(folder)
    return dataset.digest, dataset.decode(range(len(dataset)), 16)[0]
