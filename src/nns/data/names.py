"""Names that people give to classes and splits, brought to one spelling."""

from __future__ import annotations

import os
import unicodedata

from nns.types import SplitName

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Names a split may be given by, in any case of letters."""


def clean_name(name: str) -> str:
    """Bring a class name to Unicode form NFC; bytes that are no UTF-8 become U+FFFD."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
