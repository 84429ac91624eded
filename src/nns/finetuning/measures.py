"""Measures of predicted classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def macro_f1(labels: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Average F1 over the classes that have images: each counts as much, however few images it has, 0..1.

    Args:
        labels: (n,) what they are, at least one.
        said: (n,) what they are said to be.
    """
    import numpy as np
    from sklearn.metrics import f1_score

    return float(f1_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0.0))
