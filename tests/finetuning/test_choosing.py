"""What validation says of several networks, weighed against what was expected of them."""

import numpy as np
import pytest

from nns.data import Dataset
from nns.finetuning import Entrant, Recipe, climb
from nns.finetuning.choosing import DOUBT, TRUST, gains


def right(n, share, seed=0):
    found = np.zeros(n, bool)
    found[np.random.default_rng(seed).permutation(n)[: round(n * share)]] = True
    return found


def test_few_images_do_not_overturn_what_was_expected():
    labels = np.zeros(25, np.int64)
    found = gains([0.9, 0.6], [right(25, 0.6), right(25, 0.72, 1)], labels, skewed=False)
    assert found[0] == 0
    assert found[1] < 0, "twelve points on 25 images against thirty that were expected the other way"


def test_many_images_do():
    labels = np.zeros(2500, np.int64)
    found = gains([0.8, 0.6], [right(2500, 0.6), right(2500, 0.8, 1)], labels, skewed=False)
    assert 0.15 < found[1] < 0.2


def test_the_posterior_of_a_normal_difference():
    labels = np.zeros(100, np.int64)
    first = np.arange(100) < 50
    second = np.arange(100) < 60  # ten images, all for the second
    error = (10 + 1) / 100**2
    expected = (TRUST * -0.04 * error + 0.1 * DOUBT**2) / (error + DOUBT**2)
    assert gains([0.5, 0.46], [first, second], labels, skewed=False)[1] == pytest.approx(expected)


def test_without_images_or_expectations():
    nothing = np.zeros(0, bool)
    found = gains([0.5, 0.7], [nothing, nothing], np.zeros(0, np.int64), skewed=False)
    assert found.tolist() == pytest.approx([0, TRUST * 0.2])
    found = gains([None, 0.7], [right(10, 0.5), right(10, 0.9)], np.zeros(10, np.int64), skewed=False)
    assert found[1] > 0, "what is expected of one alone says nothing"


def test_skewed_classes_count_alike():
    labels = np.array([0] * 90 + [1] * 10)
    frequent, rare = labels == 0, labels == 1
    frequent[:5] = rare[:5] = False
    one = np.where(labels == 0, True, False)  # the frequent class alone
    other = np.arange(100) >= 30  # loses a third of it, gains all of the rare one
    assert gains([None, None], [one, other], labels, skewed=False)[1] < 0
    assert gains([None, None], [one, other], labels, skewed=True)[1] > 0


def test_a_ladder_keeps_the_expected_order_where_validation_is_small(small_zoo):
    from nns.plugins import installed_plugins

    dataset = Dataset.open(str(small_zoo.query))
    timm = installed_plugins().backend("timm")
    (spec,) = timm.offers("lcnet_035")

    def entrant(name, expected):
        return Entrant(
            name, name, lambda: timm.build(spec, len(dataset.classes), seed=len(name)), timm.preprocessing(spec, 32),
            expected,
        )  # fmt: skip

    def winner(*expected):
        result = climb(
            [entrant("a", expected[0]), entrant("bb", expected[1])],
            lambda preprocessing: dataset.splits_at(preprocessing.size)[0],
            Recipe(epochs=2, device="cpu"),
        )
        return result.winner.id

    assert winner(0.9, 0.1) == "a"
    assert winner(0.1, 0.9) == "bb"
