"""The side of a network's input."""

import numpy as np
import pytest
from PIL import Image

from nns import Zoo
from nns.data import Dataset
from nns.finetuning.sizing import ENOUGH, FEW, epochs_within, input_size


def within(epochs_at_96):
    return lambda size: epochs_at_96 / (size / 96) ** 2


@pytest.mark.parametrize(
    ("own", "side", "size"),
    [
        (64, 64, 96),  # enlarged by half
        (64, 32, 64),  # nothing there to see
        (64, 1000, 96),  # without a budget nobody waits for more than usual
        (224, 1000, 224),  # unless the network was trained at more
        (224, 64, 96),
        (32, 8, 32),
        (32, 64, 96),
    ],
)
def test_without_a_budget(own, side, size):
    assert input_size(own, side) == size


@pytest.mark.parametrize(
    ("own", "side", "epochs_at_96", "size"),
    [
        (64, 1000, 1000, 224),
        (64, 1000, ENOUGH * (128 / 96) ** 2, 128),
        (64, 64, 1000, 96),
        (64, 1000, ENOUGH, 96),
        (64, 1000, FEW, 96),
        (64, 1000, FEW - 1, 64),
        (224, 1000, 5, 96),
        (224, 1000, 1000, 224),
        (64, 16, 1000, 64),
        (32, 8, 1000, 32),
    ],
)
def test_with_a_budget(own, side, epochs_at_96, size):
    assert input_size(own, side, within(epochs_at_96)) == size


def test_more_time_never_gives_a_smaller_input():
    for own in (32, 64, 224):
        for side in (8, 32, 64, 100, 500):
            sizes = [input_size(own, side, within(epochs)) for epochs in np.geomspace(0.1, 1000, 60)]
            assert sizes == sorted(sizes)


def test_epochs_grow_with_time_and_shrink_with_images_and_pixels(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        epochs = epochs_within(next(iter(zoo.networks())), 2, 100, 60.0, "cpu")
    assert epochs(96) == pytest.approx(4 * epochs(192))
    assert epochs(96) > 0


def test_the_shorter_side_of_images(tmp_path):
    for name, size in {"a": (40, 30), "b": (20, 90), "c": (50, 60)}.items():
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", size, (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "a" / "9.png").write_bytes(b"no image")
    assert Dataset.open(str(tmp_path)).shorter_side() == 30
