"""Train, validation and test: which image goes where, seeded, by class, blind to names and order.

No random generator: an image is placed by the hash of seed and content (see :mod:`nns.data.sampling`),
so a renamed, moved or reordered dataset is split the same. scikit-learn's stratified split depends on
order, and refuses classes of one or two images; by class, it is no more than taking shares.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nns.data.items import SPLITS
from nns.data.sampling import draw_key
from nns.errors import DatasetError, UsageError
from nns.types import SplitName

VAL_SHARE, TEST_SHARE = 0.15, 0.15
"""Of each class, where a dataset has no splits of its own."""


def assign_splits(
    labels: Sequence[int],
    given: Sequence[SplitName | None],
    contents: Sequence[str],
    *,
    val: float,
    test: float,
    seed: int,
) -> list[SplitName]:
    """Return every image a split.

    - Splits that are given stay.
    - No splits given: ``val`` and ``test`` of every class are set apart, of each class at least one image
      for every split. Copies of one image stay in training, unless a class has too few other images.
    - Only ``train`` (and ``test``) given: validation is carved out of ``train`` in the same way.

    Args:
        labels: Class index of each image.
        given: The splits that the dataset has: for all images or for none.
        contents: Content digest of each image.
        val: Share of a class for validation, 0 < val < 1.
        test: Share of a class for the test, 0 ≤ test < 1; 0: no test split. Not used where splits are given.
        seed: Another seed places other images.

    Returns:
        The split of each image.

    Raises:
        UsageError: Shares that leave nothing to train on.
        DatasetError: A class with fewer images than splits (the message gives its index).
    """
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise UsageError(f"shares val={val}, test={test} leave no training images; take e.g. val=0.15, test=0.15")
    splits: list[SplitName] = [split or "train" for split in given]
    if "val" in given:
        return splits
    shares: list[tuple[SplitName, float]] = [("val", val)]
    if test > 0 and not any(given):
        shares.insert(0, ("test", test))

    by_class: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        if splits[index] == "train":
            by_class[label].append(index)
    for label, members in by_class.items():
        if len(members) <= len(shares):
            raise DatasetError(
                f"class {label} has {len(members)} image(s), at least {len(shares) + 1} are needed for the splits"
            )
        _carve(members, contents, shares, seed, splits)
    return splits


def split_members(placed: Sequence[SplitName]) -> dict[SplitName, NDArray[np.int64]]:
    """Return the positions of train, of val, and of test where there is one, each sorted."""
    splits = np.array(placed)
    members = {split: np.flatnonzero(splits == split) for split in SPLITS}
    return {split: where for split, where in members.items() if split != "test" or len(where)}


def _carve(
    members: list[int],
    contents: Sequence[str],
    shares: Sequence[tuple[SplitName, float]],
    seed: int,
    splits: list[SplitName],
) -> None:
    """Move the shares of one class out of ``train``; images with copies are the last to be moved."""
    copies = Counter(contents[index] for index in members)
    order = sorted(members, key=lambda i: (copies[contents[i]], draw_key(seed, contents[i])))
    start = 0
    for position, (split, share) in enumerate(shares):
        splits_after = len(shares) - position  # training included: each needs an image
        count = min(max(1, round(len(members) * share)), len(members) - start - splits_after)
        for index in order[start : start + count]:
            splits[index] = split
        start += count
