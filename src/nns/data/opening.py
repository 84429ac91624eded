"""DATA as the command line takes it becomes an :class:`ImageDataset`."""

from __future__ import annotations

import os
from pathlib import Path

from nns.data.checks import check_trainable
from nns.data.dataset import ImageDataset
from nns.data.folders import open_folder
from nns.data.table import open_table
from nns.errors import DatasetError

TORCHVISION_PREFIX = "torchvision:"


def open_dataset(
    data: str | Path, *, require_labels: bool = True, torchvision_root: str | Path | None = None
) -> ImageDataset:
    """Open a dataset without decoding an image (docs/datasets.md describes the forms).

    Args:
        data: A folder of class folders; a folder with ``train/``, optionally ``val/`` and ``test/``; a
            ``.csv`` with the columns path,label[,split]; ``torchvision:NAME``; or, without
            ``require_labels``, a flat folder of images.
        require_labels: Refuse what cannot be fine-tuned on: no labels, one class, too few images of one.
        torchvision_root: Where torchvision's files are; else $NNS_TORCHVISION_ROOT, else
            ``~/.cache/nns/torchvision``.

    Returns:
        The dataset.

    Raises:
        DatasetError: Nothing there, no images, or not in one of the forms.
    """
    dataset = _open(os.fspath(data), Path(torchvision_root).expanduser() if torchvision_root else None)
    if require_labels:
        check_trainable(dataset)
    return dataset


def _open(data: str, torchvision_root: Path | None) -> ImageDataset:
    if data.startswith(TORCHVISION_PREFIX):
        from nns.data.torchvision_data import open_torchvision

        return open_torchvision(data.removeprefix(TORCHVISION_PREFIX), data, torchvision_root)
    path = Path(data).expanduser()
    if not data or not os.path.exists(path):
        raise DatasetError(f"no dataset at {data!r}; give a folder, a .csv or torchvision:NAME")
    if path.is_dir():
        return open_folder(path, data)
    if path.suffix.lower() == ".csv" and path.is_file():
        return open_table(path, data)
    raise DatasetError(f"{data!r} is neither a folder nor a .csv; give the folder that holds the images")
