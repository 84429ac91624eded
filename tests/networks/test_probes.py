from __future__ import annotations

import hashlib

import numpy as np
import torch

from nns.networks.fingerprints import PROBE_COUNT
from nns.networks.fingerprints.probes import PROBE_SIZE, PROBE_VERSION, noise_image, probe_batch, probe_images
from nns.types import Preprocessing

# Fingerprints of stored zoos hang on these. If they must change, raise PROBE_VERSION.
PROBES_SHA256 = "a58aab4e42c20ef89d7edcedfc7e6f9c754ac138cdccaae4217b9496f2859f0e"
NOISE_SHA256 = "979d3d7c3b46b19ec06c827419ee67c93ea9044a9b1dc80a3ebdd633c5acf6c6"


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_the_probe_images_are_those_of_version_1():
    assert PROBE_VERSION == 1
    assert probe_images().shape == (PROBE_COUNT, 3, PROBE_SIZE, PROBE_SIZE)
    assert probe_images().dtype == np.uint8
    assert sha256(probe_images()) == PROBES_SHA256


def test_the_noise_image_is_fixed():
    assert sha256(noise_image(32).numpy()) == NOISE_SHA256
    assert torch.equal(noise_image(48), noise_image(48))


def test_no_two_probes_are_alike():
    assert len({image.tobytes() for image in probe_images()}) == PROBE_COUNT


def test_probes_come_at_the_size_and_scale_of_the_network():
    plain = probe_batch(Preprocessing(40, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert plain.shape == (PROBE_COUNT, 3, 40, 40)
    assert 0 <= plain.min() < plain.max() < 1 + 1e-6
    shifted = probe_batch(Preprocessing(40, (0.5, 0.25, 0.0), (0.5, 0.5, 0.25)))
    mean, std = torch.tensor([0.5, 0.25, 0.0]).view(3, 1, 1), torch.tensor([0.5, 0.5, 0.25]).view(3, 1, 1)
    torch.testing.assert_close(shifted, (plain - mean) / std)
