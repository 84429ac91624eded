"""Images of a dataset: opening, identity, sampling, decoding, splits, and what is wrong with it.

Importing this loads nothing heavy: names are loaded at first use, Pillow and numpy with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.data.cache import cached_arrays
    from nns.data.contents import QUERY_IMAGES
    from nns.data.dataset import Dataset
    from nns.data.decoding import decode
    from nns.data.doctor import diagnose, inspect_dataset
    from nns.data.items import ImageItem, MemoryImage, Skipped
    from nns.data.report import DoctorReport, DuplicateGroup, Finding
    from nns.data.seen import Seen

_HOMES = homes(
    {
        "cache": "cached_arrays",
        "contents": "QUERY_IMAGES",
        "dataset": "Dataset",
        "decoding": "decode",
        "doctor": "diagnose inspect_dataset",
        "items": "ImageItem MemoryImage Skipped",
        "report": "DoctorReport DuplicateGroup Finding",
        "seen": "Seen",
    }
)

__all__ = [
    "QUERY_IMAGES",
    "Dataset",
    "DoctorReport",
    "DuplicateGroup",
    "Finding",
    "ImageItem",
    "MemoryImage",
    "Seen",
    "Skipped",
    "cached_arrays",
    "decode",
    "diagnose",
    "inspect_dataset",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
