from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from nns.backends.batches import as_tensors, augmenter, batches, normalise, top1_accuracy
from nns.backends.seeding import seeded
from nns.types import LabelledArrays, Preprocessing


def test_normalising():
    images = np.full((2, 3, 4, 4), 255, np.uint8)
    images[:, 1] = 0
    out = normalise(images, Preprocessing(4, (0.5, 0.25, 0.5), (0.5, 0.5, 0.25)))
    torch.testing.assert_close(out[0, :, 0, 0], torch.tensor([1.0, -0.5, 2.0]))


def drawn(seed, count=10, size=4):
    images = torch.arange(count).float().view(count, 1, 1, 1)
    with seeded(seed):
        return [labels.tolist() for _, labels in batches(images, torch.arange(count), size)]


def test_an_epoch_sees_each_image_once_in_an_order_of_its_seed():
    assert sorted(label for batch in drawn(0) for label in batch) == list(range(10))
    assert drawn(0) == drawn(0) != drawn(1)
    assert [len(batch) for batch in drawn(0)] == [4, 4, 2]


def test_a_last_batch_of_one_is_left_out_but_an_only_image_is_not():
    assert [len(batch) for batch in drawn(0, count=9)] == [4, 4]
    assert [len(batch) for batch in drawn(0, count=1)] == [1]


def test_images_and_labels_stay_together():
    images = torch.arange(6).float().view(6, 1, 1, 1)
    for batch, labels in batches(images, torch.arange(6), 4):
        assert batch.flatten().tolist() == labels.tolist()


def test_augmenting_keeps_the_shape_and_follows_the_seed():
    images = torch.rand(3, 3, 16, 16)
    with seeded(1):
        first = augmenter(16)(images)
    with seeded(1):
        again = augmenter(16)(images)
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, images)


def test_seeding_restores_the_generator():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(9):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_accuracy():
    labels = torch.tensor([0, 1, 1, 2, 0])
    logits = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 2, 0]), 3).float()
    assert top1_accuracy(torch.nn.Identity(), logits, labels, batch_size=2) == pytest.approx(0.8)
    assert np.isnan(top1_accuracy(torch.nn.Identity(), logits[:0], labels[:0]))


def test_read_only_arrays_are_read_without_a_copy_or_a_warning():
    images, labels = np.zeros((2, 3, 4, 4), np.uint8), np.arange(2)
    images.flags.writeable = labels.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, tensor = as_tensors(LabelledArrays(images, labels), Preprocessing(4))
    assert tensor.data_ptr() == labels.ctypes.data
