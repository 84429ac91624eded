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


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, 0..1 each (Wilson 1927); of nothing, everything."""
    from scipy.stats import binomtest

    if not of:
        return (0.0, 1.0)
    found = binomtest(right, of).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def f1_interval(right: int, is_it: int, said: int) -> tuple[float, float]:
    """Return the 95 % interval of the F1 of a class, 0..1 each.

    F1 rises with the share of hits among the images that are of the class or said to be (Jaccard's index J, F1 =
    2 J / (1 + J)), and such a share has an interval by Wilson.

    Args:
        right: Images of the class that were said to be of it.
        is_it: Images of it.
        said: Images that were said to be of it.
    """
    low, high = (2 * share / (1 + share) for share in wilson(right, is_it + said - right))
    return low, high
