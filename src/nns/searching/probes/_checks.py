"""What all scores ask of their input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nns.errors import UsageError


def checked(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> tuple[Any, Any]:
    """Return features (n, d) in double precision and labels as 0 to k - 1; what is not finite becomes zero.

    Raises:
        UsageError: If the lengths differ, or there are fewer than two classes or three images.
    """
    rows = np.nan_to_num(np.asarray(features, np.float64), posinf=0.0, neginf=0.0)
    if rows.ndim != 2 or len(rows) != len(labels):
        raise UsageError(f"features of shape {rows.shape} do not fit {len(labels)} labels")
    known, members = np.unique(labels, return_inverse=True)
    if len(known) < 2 or len(rows) < 3:
        raise UsageError(f"{len(rows)} images of {len(known)} classes: a score needs three images and two classes")
    return rows, members
