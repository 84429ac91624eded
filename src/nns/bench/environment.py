"""With what a matrix or a run was made, as it stands in their documents."""

from __future__ import annotations

import os
from importlib.metadata import version

from nns.networks import device_key
from nns.types import Json

PACKAGES = ("nns", "torch", "torchvision", "timm", "numpy", "scikit-learn")


def environment() -> Json:
    """Return ``versions`` of packages, and the ``machine``: processor and number of cores."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"processor": device_key(), "cores": os.cpu_count()},
    }
