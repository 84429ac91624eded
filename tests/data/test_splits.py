"""Every class in every split, nothing twice, the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nns.data.splits import assign_splits
from nns.errors import DatasetError, UsageError

COUNTS = st.lists(st.integers(3, 40), min_size=2, max_size=8)
SHARES = st.floats(0.01, 0.49)


def labels_of(counts: list[int]) -> list[int]:
    return [label for label, count in enumerate(counts) for _ in range(count)]


@given(counts=COUNTS, val=SHARES, test=SHARES, seed=st.integers(0, 2**32))
def test_every_class_is_in_every_split(counts: list[int], val: float, test: float, seed: int) -> None:
    labels = labels_of(counts)
    contents = [str(index) for index in range(len(labels))]
    splits = assign_splits(labels, [None] * len(labels), contents, val=val, test=test, seed=seed)
    assert len(splits) == len(labels)
    for label, count in enumerate(counts):
        own = [split for split, other in zip(splits, labels, strict=True) if other == label]
        assert set(own) == {"train", "val", "test"}
        assert abs(own.count("val") - val * count) <= 1
        assert abs(own.count("test") - test * count) <= 1
    again = assign_splits(labels, [None] * len(labels), contents, val=val, test=test, seed=seed)
    assert again == splits


@given(counts=COUNTS, seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_order_does_not_matter(counts: list[int], seed: int, order: object) -> None:
    labels = labels_of(counts)
    contents = [f"image {index}" for index in range(len(labels))]
    splits = assign_splits(labels, [None] * len(labels), contents, val=0.15, test=0.15, seed=seed)
    shuffled = list(range(len(labels)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    moved = assign_splits(
        [labels[i] for i in shuffled],
        [None] * len(labels),
        [contents[i] for i in shuffled],
        val=0.15,
        test=0.15,
        seed=seed,
    )
    assert moved == [splits[i] for i in shuffled]


def test_another_seed_places_other_images() -> None:
    labels, contents = [0] * 50 + [1] * 50, [str(i) for i in range(100)]
    one, two = (assign_splits(labels, [None] * 100, contents, val=0.2, test=0.2, seed=s) for s in (0, 1))
    assert one != two


def test_copies_stay_in_training() -> None:
    labels = [0] * 20 + [1] * 20
    contents = ["same"] * 10 + [str(i) for i in range(30)]
    splits = assign_splits(labels, [None] * 40, contents, val=0.2, test=0.2, seed=0)
    assert set(splits[:10]) == {"train"}
    assert splits[:20].count("val") == splits[:20].count("test") == 4


def test_given_splits_stay() -> None:
    assert assign_splits([0, 0], ["train", "val"], ["a", "b"], val=0.5, test=0.1, seed=0) == ["train", "val"]


def test_val_is_carved_out_of_train() -> None:
    given_splits = ["train"] * 10 + ["test"] * 4
    contents = [str(i) for i in range(14)]
    splits = assign_splits([0] * 5 + [1] * 5 + [0, 0, 1, 1], given_splits, contents, val=0.2, test=0.9 - 0.2, seed=0)  # type: ignore[arg-type]
    assert splits[10:] == ["test"] * 4
    assert splits[:5].count("val") == splits[5:10].count("val") == 1


def test_no_test_share_no_test_split() -> None:
    splits = assign_splits([0] * 5, [None] * 5, list("abcde"), val=0.2, test=0, seed=0)
    assert sorted(splits) == ["train"] * 4 + ["val"]


@pytest.mark.parametrize(("val", "test"), [(0, 0.1), (1, 0), (0.5, 0.5), (-0.1, 0.2), (0.2, -0.1), (float("nan"), 0)])
def test_shares_must_leave_something(val: float, test: float) -> None:
    with pytest.raises(UsageError, match="no training images"):
        assign_splits([0] * 9, [None] * 9, list("abcdefghi"), val=val, test=test, seed=0)


def test_too_few_images() -> None:
    with pytest.raises(DatasetError, match="class 1 has 2"):
        assign_splits([0, 0, 0, 1, 1], [None] * 5, list("abcde"), val=0.1, test=0.1, seed=0)
