"""Forward passes in numpy, so that a search needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._data import FloatArray

SMALLEST_NORM = 1e-12


def unit(rows: NDArray[np.floating[Any]]) -> FloatArray:
    """Scale vectors along the last axis to length one; a zero vector stays zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: FloatArray = (rows / np.maximum(norms, SMALLEST_NORM)).astype(np.float32)
    return scaled


def affine(rows: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Apply a linear layer: (n, in) rows, (out, in) weight, (out,) bias, gives (n, out)."""
    moved: FloatArray = rows @ weight.T + bias
    return moved


def sigmoid(logits: NDArray[np.floating[Any]]) -> FloatArray:
    """Map logits to 0..1 without overflow."""
    return (0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))).astype(np.float32)


def logit(probabilities: NDArray[np.floating[Any]], floor: float = 0.01) -> NDArray[np.float64]:
    """Map 0..1 to logits; values are first clipped to ``floor`` .. 1 - ``floor``."""
    p = np.clip(np.asarray(probabilities, np.float64), floor, 1 - floor)
    return np.log(p / (1 - p))
