"""Inputs of the mixed method: any network's fingerprint, any dataset's features, as short vectors.

Both are fitted as centre, scale and principal directions, and then are one matrix product a vector. The
fitted arrays live in the method's ``tensors_`` under a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nns.errors import UsageError
from nns.space._forward import SMALLEST_NORM, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._data import FloatArray, IntArray

CLIP = 5.0
"""Standard deviations at which a single statistic is cut off, so that no odd network leaves the space."""
CLASSES_AN_IMAGE = 4
"""Classes for each of which a dataset needs one image more than classes to tell what lies between them."""
PRINCIPAL_ROWS = 1000
"""Rows from which principal directions are computed; of more rows every k-th is used."""


class Projection:
    """Standardised columns, or principal components, of a block; total variance of the fitted rows is one.

    Args:
        arrays: ``centre`` (d,), ``scale`` (d,) and, for principal components, ``directions`` (k, d).
    """

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        self.arrays = dict(arrays)

    @classmethod
    def standardising(cls, rows: FloatArray) -> Projection:
        """Fit column-wise standardisation to (n, d); a constant column becomes zero, and so does a NaN."""
        known = np.isfinite(rows)
        counts = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, rows, 0.0).sum(axis=0, dtype=np.float64) / counts
        spread = np.sqrt((np.where(known, rows - centre, 0.0) ** 2).sum(axis=0) / counts)
        varies = spread > 1e-6 * np.maximum(np.abs(centre), 1e-6)
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        return cls({"centre": centre.astype(np.float32), "scale": scale.astype(np.float32)})

    @classmethod
    def principal(cls, rows: FloatArray, components: int, whitening: float = 0.0) -> Projection:
        """Fit at most ``components`` principal directions to (n, d).

        A component's standard deviation is raised to ``1 - whitening``: 0 leaves the components as they vary,
        1 makes them vary alike. They are then turned at random (distances stay): Adam takes equal steps along
        every axis, so on axes that are components it would whiten them after all.
        """
        some = np.asarray(rows[:: -(-len(rows) // PRINCIPAL_ROWS)], np.float64)
        centre = some.mean(axis=0)
        centred = some - centre
        # the smaller of the two Gram matrices has all that is needed
        wide = centred.shape[1] > centred.shape[0]
        gram = centred @ centred.T if wide else centred.T @ centred
        values, vectors = np.linalg.eigh(gram)
        keep = np.argsort(values)[::-1][:components]
        keep = keep[values[keep] > 1e-6 * max(values.max(initial=0.0), SMALLEST_NORM)]
        directions = (centred.T @ vectors[:, keep]).T if wide else vectors[:, keep].T
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), SMALLEST_NORM)
        deviations = np.sqrt(values[keep] / len(some))
        directions *= deviations[:, None] ** -whitening
        variance = (deviations ** (2 - 2 * whitening)).sum()
        directions = random_rotation(len(keep)) @ directions
        scale = np.full(rows.shape[1], 1 / np.sqrt(variance) if len(keep) else 0.0)
        arrays = {"centre": centre, "scale": scale, "directions": directions}
        return cls({name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()})

    def __call__(self, rows: FloatArray) -> FloatArray:
        """Transform (..., d) to (..., k)."""
        standard: FloatArray = (rows - self.arrays["centre"]) * self.arrays["scale"]
        if "directions" in self.arrays:
            projected: FloatArray = standard @ self.arrays["directions"].T
            return projected
        active = max(int((self.arrays["scale"] > 0).sum()), 1)
        clipped: FloatArray = np.clip(np.nan_to_num(standard), -CLIP, CLIP) / np.float32(np.sqrt(active))
        return clipped


def random_rotation(size: int) -> NDArray[np.float64]:
    """Return an orthogonal matrix (size, size), always the same for one size."""
    rotation: NDArray[np.float64] = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    return rotation


def flat_kernels(kernels: FloatArray) -> FloatArray:
    """Flatten similarity kernels (n, m, m) so that the inner product of two is their centred kernel alignment.

    Upper triangle with the off-diagonal entries times sqrt(2), divided by the Frobenius norm (Kornblith et
    al., 2019, eq. 3). Gives (n, m (m + 1) / 2); entries that are not finite become zero.
    """
    rows, columns = np.triu_indices(kernels.shape[-1])
    flat = np.nan_to_num(kernels[:, rows, columns], posinf=0.0, neginf=0.0).astype(np.float32)
    flat *= np.where(rows == columns, 1.0, np.sqrt(2.0)).astype(np.float32)
    return unit(flat)


def flat_surprises(surprises: FloatArray) -> FloatArray:
    """Flatten surprises (n, rows, m) to (n, rows * m).

    Each row is centred and scaled over the reference images: which images are less surprising than others tells what a
    network was trained on, how surprising they are altogether tells its architecture.
    """
    rows = np.nan_to_num(np.asarray(surprises, np.float32), posinf=0.0, neginf=0.0)
    rows = rows - rows.mean(axis=-1, keepdims=True)
    flat: FloatArray = unit(rows).reshape(len(rows), -1)
    return flat


def network_blocks(blocks: Mapping[str, FloatArray]) -> tuple[FloatArray, ...]:
    """Pick what any architecture has.

    Gives graph statistics (n, G), flattened kernels (n, m (m + 1) / 2) and, where the zoo has them, flattened
    surprises (n, rows * m).

    Raises:
        UsageError: If one of the blocks is missing.
    """
    for name in ("graph", "kernel"):
        if name not in blocks:
            raise UsageError(f"method 'mixed' needs the fingerprint block {name!r}; build the zoo with it")
    graph = np.nan_to_num(np.asarray(blocks["graph"], np.float32), posinf=0.0, neginf=0.0)
    parts = (graph, flat_kernels(blocks["kernel"]))
    return (*parts, flat_surprises(blocks["surprise"])) if "surprise" in blocks else parts


class QueryParts(NamedTuple):
    """A dataset, or (d, views) of them, as numbers.

    Attributes:
        mean: Mean of the features, (..., D).
        spread: Standard deviation of each feature over the images, (..., D).
        classes: Log number of classes and share of the variance that lies between classes, (..., 2); NaN
            where there are no labels.
    """

    mean: FloatArray
    spread: FloatArray
    classes: FloatArray


def describe_query(features: FloatArray, labels: IntArray | None) -> QueryParts:
    """Describe a dataset by its features (images, D) and class indices (images,), -1 where unlabelled.

    The number of classes is the highest index and one, since few images may not show every class.
    """
    rows = np.nan_to_num(np.asarray(features, np.float64))
    classes = np.full(2, np.nan)
    known = np.zeros(len(rows), bool) if labels is None else np.asarray(labels) >= 0
    if labels is not None and known.any():
        members = np.asarray(labels)[known]
        classes[:] = np.log(members.max() + 1), share_between(rows[known], members)
    parts = (rows.mean(axis=0), rows.std(axis=0), classes)
    return QueryParts(*(part.astype(np.float32) for part in parts))


def share_between(rows: NDArray[np.float64], labels: IntArray) -> float:
    """Estimate the share of the variance of (images, D) that lies between classes: at most 1, below 0 by chance.

    The share that is found in few images is too high, and 1 with one image a class. So the variances within classes
    and in all are each divided by their degrees of freedom: epsilon squared of Kelley, An unbiased correlation ratio
    measure, 1935. NaN where there is less than one further image for every :data:`CLASSES_AN_IMAGE` classes, as one
    pair of images would decide it all, or where all images are alike.
    """
    _, members = np.unique(labels, return_inverse=True)
    assigned = np.eye(members.max() + 1)[members]
    means = assigned.T @ rows / assigned.sum(axis=0)[:, None]
    free = len(rows) - len(means)
    whole = float(((rows - rows.mean(axis=0)) ** 2).sum())
    if free < max(1.0, len(means) / CLASSES_AN_IMAGE) or whole <= SMALLEST_NORM:
        return float("nan")
    within = float(((rows - means[members]) ** 2).sum())
    return 1 - (within / free) / (whole / (len(rows) - 1))


def query_views(
    features: FloatArray, labels: IntArray | None, views: int, rng: np.random.Generator
) -> list[QueryParts]:
    """Describe a dataset ``views`` times: once all of it, then random halves of its images."""
    described = [describe_query(features, labels)]
    half = max((len(features) + 1) // 2, 1)
    for _ in range(views - 1):
        some = rng.permutation(len(features))[:half]
        described.append(describe_query(features[some], None if labels is None else labels[some]))
    return described


def with_prefix(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Pick the arrays under ``prefix`` and strip it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def project(tensors: Mapping[str, FloatArray], prefix: str, parts: Sequence[FloatArray]) -> FloatArray:
    """Project each part by the fitted ``prefix.0``, ``prefix.1``, … and join them along the last axis."""
    return np.concatenate(
        [Projection(with_prefix(tensors, f"{prefix}.{i}."))(part) for i, part in enumerate(parts)], axis=-1
    )
