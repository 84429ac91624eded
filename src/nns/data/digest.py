r"""The identity of a dataset is its content: digests that do not depend on where, how named or in which order.

``digest = sha256("nns-dataset-1\n" + sorted lines)``, one line an image:
the JSON list ``[class name, split or "", sha256 of the file]``. A class name is in Unicode form NFC.
Images without a file (torchvision) are hashed by mode, size and pixels. Files that cannot be opened at
all have no content and do not count; files that open but do not decode do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nns.data.items import ImageSource
from nns.data.reading import UNREADABLE, ImageReader

_HEADER = b"nns-dataset-1\n"
_CHUNK = 64  # sources a thread hashes before it asks for more


def content_digests(sources: Sequence[ImageSource], reader: ImageReader) -> tuple[str, ...]:
    """Hash many images, files on two threads (hashing and reading release the interpreter)."""
    chunks = [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]
    if len(chunks) < 2 or not isinstance(sources[0], Path):
        return tuple(map(reader.digest, sources))
    with ThreadPoolExecutor(2) as pool:
        hashed = pool.map(lambda chunk: [reader.digest(source) for source in chunk], chunks)
        return tuple(digest for chunk in hashed for digest in chunk)


def dataset_digest(entries: Iterable[tuple[str, str, str]]) -> str:
    """Hash a dataset.

    Args:
        entries: (class name, split or ``""``, content digest) of each image, in any order.

    Returns:
        Hex sha256.
    """
    digest = hashlib.sha256(_HEADER)
    for line in sorted(json.dumps(entry) for entry in entries if entry[2] != UNREADABLE):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
