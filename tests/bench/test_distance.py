"""Distance from ImageNet, and what is averaged by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images
from torchvision.transforms import v2

from nns.bench.distance import THIRDS, distances_from_imagenet, regret_by_third
from nns.data.extractors import EfficientNetLite0Extractor
from nns.data.extractors.efficientnet_lite0 import QUERY_DIM, QUERY_SIZE, _build, imagenet_mean


def test_the_mean_features_of_imagenet_are_what_relu6_leaves_of_the_last_batch_norm():
    rng = np.random.default_rng(0)
    state = _build().state_dict()
    mean, deviation = state["_bn1.bias"].numpy()[:20], np.abs(state["_bn1.weight"].numpy()[:20])
    drawn = np.clip(rng.normal(mean, deviation, (200_000, 20)), 0, 6).mean(axis=0)
    np.testing.assert_allclose(imagenet_mean()[:20], drawn, atol=0.01)


def test_digits_are_further_from_imagenet_than_photographs():
    resize = v2.Resize((QUERY_SIZE, QUERY_SIZE), antialias=True)
    photographs = [torch.tensor(image).permute(2, 0, 1) for image in load_sample_images().images]
    digits = torch.from_numpy(255 - 16 * load_digits().images[:8]).clip(0, 255).to(torch.uint8)[:, None]
    sets = [torch.stack([resize(image) for image in photographs]), resize(digits.expand(-1, 3, -1, -1))]
    extractor = EfficientNetLite0Extractor()
    near, far = distances_from_imagenet([extractor.extract(images.numpy()) for images in sets])
    assert 0 < near < far - 0.1
    assert far < 1
    assert distances_from_imagenet([imagenet_mean()[None].astype(np.float32)]) == pytest.approx([0.0], abs=1e-6)


def test_distances_of_other_features_are_not_known():
    assert np.isnan(distances_from_imagenet([np.ones((2, 16), np.float32)])).all()
    assert np.isnan(distances_from_imagenet([np.zeros((2, QUERY_DIM), np.float32)])).all()


def test_regret_by_third():
    tasks = {task: {"regret": float(task)} for task in (0, 1, 2, 4, 5, 6)}
    distances = [0.6, 0.5, 0.4, float("nan"), 0.3, 0.2, 0.1]
    assert regret_by_third(tasks, distances) == dict(zip(THIRDS, [(5.5, 2), (3.0, 2), (0.5, 2)], strict=True))
    assert regret_by_third(tasks, [float("nan")] * 7) == {}
