"""Images of a dataset: opening, identity, sampling, decoding, splits, and what is wrong with it.

Importing this loads Pillow and numpy; torchvision is loaded when a ``torchvision:NAME`` is opened.
"""

from __future__ import annotations

from nns.data.cache import cached_arrays
from nns.data.contents import QUERY_IMAGES
from nns.data.dataset import Dataset
from nns.data.decoding import decode
from nns.data.doctor import diagnose, inspect_dataset
from nns.data.items import ImageItem, MemoryImage, Skipped
from nns.data.report import DoctorReport, DuplicateGroup, Finding

__all__ = [
    "QUERY_IMAGES",
    "Dataset",
    "DoctorReport",
    "DuplicateGroup",
    "Finding",
    "ImageItem",
    "MemoryImage",
    "Skipped",
    "cached_arrays",
    "decode",
    "diagnose",
    "inspect_dataset",
]
