"""How long a search takes on this machine until the features of the query images are there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

SCRIPT = """
import io, json, sys, time
import numpy as np
from PIL import Image
begun = time.process_time()
rng, files = np.random.default_rng(0), []
for number in range(int(sys.argv[1])):
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (224, 224, 3), np.uint8)).save(file, "JPEG")
    files.append(file.getvalue())
made = time.process_time() - begun
from nns.data.extractors import EfficientNetLite0Extractor
from nns.data.opening import open_bytes
seconds = []
reading = 0.0
extractor = None
for _ in range(2):
    start = time.process_time()
    extractor = extractor or EfficientNetLite0Extractor()
    size = extractor.image_size
    opened = time.process_time()
    images = [open_bytes(each).convert("RGB").resize((size, size)) for each in files]
    reading = time.process_time() - opened
    extractor.extract(np.ascontiguousarray(np.stack([np.asarray(each) for each in images]).transpose(0, 3, 1, 2)))
    seconds.append(time.process_time() - start)
print(json.dumps([time.process_time() - made - seconds[1], seconds[1], reading / len(files)]))
"""
LIMIT = 300
"""Seconds after which the measurement is given up."""


@dataclass(frozen=True)
class SearchSeconds:
    """Processor seconds of reading query images and computing their features.

    Attributes:
        cold: In a new process, imports included.
        warm: In one that has done so before.
        reading: Of reading one image.
        images: How many query images that is for.
    """

    cold: float = 0.0
    warm: float = 0.0
    reading: float = 0.0
    images: int = 0

    def checking(self, images: int) -> float:
        """Seconds of reading the rest of a dataset of so many images: a search names those that cannot be read."""
        return self.reading * max(0, images - self.images)


def measure_search(images: int) -> SearchSeconds:
    """Time in a process of its own how so many JPEG images of 224 x 224 pixels become query features.

    Returns:
        NaN for all if it fails, e.g. as the weights of the extractor are not installed.
    """
    command = [sys.executable, "-c", SCRIPT, str(images)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=LIMIT)
        cold, warm, reading = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return SearchSeconds(float("nan"), float("nan"), float("nan"), images)
    return SearchSeconds(float(cold), float(warm), float(reading), images)
