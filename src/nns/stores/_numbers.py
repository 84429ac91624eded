"""Numbers out of a file: finite, and of a size with which one can compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e15
"""No feature, embedding or weight is larger; the square of it is still a number in fp32."""


def are_bounded(values: NDArray[Any]) -> bool:
    """Return whether all numbers of an array are finite and no larger than :data:`LARGEST`."""
    flat = values.reshape(-1)
    # a small sum of squares says so of all, in a third of the time; one that is large says nothing
    if flat.dtype == np.float32 and np.dot(flat, flat) <= LARGEST:
        return True
    return not flat.size or float(np.abs(flat).max()) <= LARGEST  # NaN is not


def odd_tensor(data: bytes) -> str | None:
    """Return the name of a tensor whose numbers are not; None if there is none, or if this is not safetensors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError, TypeError, KeyError):  # whoever wants tensors says so
        return None
    return next((name for name, each in tensors.items() if each.dtype.kind == "f" and not are_bounded(each)), None)
