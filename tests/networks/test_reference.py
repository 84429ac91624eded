from __future__ import annotations

import hashlib

import numpy as np
import torch

from nns.networks.fingerprints import REFERENCE_COUNT
from nns.networks.fingerprints.reference import (
    REFERENCE_SIZE,
    REFERENCE_VERSION,
    noise_image,
    reference_batch,
    reference_images,
)
from nns.types import Preprocessing

# Fingerprints of stored zoos hang on these. If they must change, raise REFERENCE_VERSION.
REFERENCE_SHA256 = "a58aab4e42c20ef89d7edcedfc7e6f9c754ac138cdccaae4217b9496f2859f0e"
NOISE_SHA256 = "979d3d7c3b46b19ec06c827419ee67c93ea9044a9b1dc80a3ebdd633c5acf6c6"


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_the_reference_images_are_those_of_version_1():
    assert REFERENCE_VERSION == 1
    assert reference_images().shape == (REFERENCE_COUNT, 3, REFERENCE_SIZE, REFERENCE_SIZE)
    assert reference_images().dtype == np.uint8
    assert sha256(reference_images()) == REFERENCE_SHA256


def test_the_noise_image_is_fixed():
    assert sha256(noise_image(32).numpy()) == NOISE_SHA256
    assert torch.equal(noise_image(48), noise_image(48))


def test_no_two_reference_images_are_alike():
    assert len({image.tobytes() for image in reference_images()}) == REFERENCE_COUNT


def test_reference_images_come_at_the_size_and_scale_of_the_network():
    plain = reference_batch(Preprocessing(40, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert plain.shape == (REFERENCE_COUNT, 3, 40, 40)
    assert 0 <= plain.min() < plain.max() < 1 + 1e-6
    shifted = reference_batch(Preprocessing(40, (0.5, 0.25, 0.0), (0.5, 0.5, 0.25)))
    mean, std = torch.tensor([0.5, 0.25, 0.0]).view(3, 1, 1), torch.tensor([0.5, 0.5, 0.25]).view(3, 1, 1)
    torch.testing.assert_close(shifted, (plain - mean) / std)
