"""Images of a dataset: opening, identity, sampling, decoding, splits, and what is wrong with it.

Importing this loads Pillow and numpy; torchvision is loaded when a ``torchvision:NAME`` is opened.
"""

from __future__ import annotations

from nns.data.cache import cached_arrays
from nns.data.dataset import ImageDataset, ImageItem
from nns.data.decoding import MemoryImage, Skipped, decode
from nns.data.doctor import diagnose, inspect_dataset
from nns.data.loading import load_arrays, load_images, load_sample, unreadable_images
from nns.data.opening import open_dataset
from nns.data.report import DoctorReport, DuplicateGroup, Finding

__all__ = [
    "DoctorReport",
    "DuplicateGroup",
    "Finding",
    "ImageDataset",
    "ImageItem",
    "MemoryImage",
    "Skipped",
    "cached_arrays",
    "decode",
    "diagnose",
    "inspect_dataset",
    "load_arrays",
    "load_images",
    "load_sample",
    "open_dataset",
    "unreadable_images",
]
