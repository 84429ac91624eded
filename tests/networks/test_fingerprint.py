from __future__ import annotations

import numpy as np
import pytest
from nns_example import ExampleBackend

from nns.networks import count_cost
from nns.networks.fingerprints import REFERENCE_COUNT, fingerprint_network
from nns.networks.fingerprints.tracing import centred_kernel
from nns.types import Preprocessing

PREPROCESSING = Preprocessing(32)


def fingerprint(seed, architecture="plain-w8-d3"):
    backend = ExampleBackend()
    spec = backend.offers(architecture)[0]
    module = backend.build(spec, 3, seed)
    cost = count_cost(backend, module, PREPROCESSING, 3)
    return fingerprint_network(backend, spec, module, PREPROCESSING, cost)


def test_it_follows_from_the_network_alone():
    first, again, other = fingerprint(0), fingerprint(0), fingerprint(1)
    for part in ("topology", "functional", "graph", "kernel"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
        assert getattr(first, part).dtype == np.float32
    assert np.array_equal(first.graph, other.graph), "the graph does not depend on the weights"
    assert not np.array_equal(first.functional, other.functional)
    assert not np.allclose(first.kernel, other.kernel)


def test_networks_of_any_width_have_kernels_of_one_shape():
    narrow, wide = fingerprint(0), fingerprint(0, "plain-w24-d4")
    assert narrow.functional.shape == (32,)
    assert wide.functional.shape == (192,)
    assert narrow.kernel.shape == wide.kernel.shape == (REFERENCE_COUNT, REFERENCE_COUNT)
    assert 0 < float((narrow.kernel * wide.kernel).sum()) <= 1
    assert narrow.topology.tolist() == [8, 3]


def naive_kernel(features):
    """K = H F Fᵀ H / ‖·‖ by loops."""
    n = len(features)
    means = [sum(features[i][k] for i in range(n)) / n for k in range(len(features[0]))]
    kernel = [
        [sum((a - m) * (b - m) for a, b, m in zip(features[i], features[j], means, strict=True)) for j in range(n)]
        for i in range(n)
    ]
    norm = sum(value**2 for row in kernel for value in row) ** 0.5
    return np.array([[value / norm for value in row] for row in kernel])


@pytest.mark.parametrize("shape", [(5, 3), (4, 9), (7, 1)])
def test_the_kernel_is_the_formula(shape):
    features = np.random.default_rng(0).standard_normal(shape) + 3
    np.testing.assert_allclose(centred_kernel(features), naive_kernel(features.tolist()), atol=1e-6)


def test_the_kernel_knows_no_shift_scale_or_rotation_of_the_features():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((6, 4))
    rotation, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    np.testing.assert_allclose(centred_kernel(features), centred_kernel(7 * features @ rotation + 5), atol=1e-6)


def test_features_that_are_all_equal_have_a_kernel_of_zeros():
    assert not centred_kernel(np.ones((4, 3))).any()
