"""Taking the fingerprint of a network: a few forward passes, no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nns.networks.fingerprints.graph import graph_statistics, trace_layers
from nns.networks.fingerprints.reference import noise_image, reference_batch
from nns.networks.fingerprints.surprise import SurpriseMeter
from nns.types import ArchitectureSpec, Fingerprint, NetworkCost, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from nns.backends import Backend


def fingerprint_network(
    backend: Backend, spec: ArchitectureSpec, module: nn.Module, preprocessing: Preprocessing, cost: NetworkCost
) -> Fingerprint:
    """Take the fingerprint of a network that is on the CPU.

    Args:
        backend: The backend that built it.
        spec: Its architecture.
        module: The network, with trained weights.
        preprocessing: Its input.
        cost: Its counts.

    Returns:
        Topology vector and functional embedding as TANS has them, and the parts that any architecture has:
        graph statistics, the similarity kernel, and the surprise at the reference images.
    """
    import torch

    module.eval()
    layers = trace_layers(module, torch.zeros(1, 3, preprocessing.size, preprocessing.size))
    with torch.inference_mode():
        functional = backend.features(module, noise_image(preprocessing.size))[0]
        images = reference_batch(preprocessing)
        with SurpriseMeter(module) as meter:
            features = backend.features(module, images)
    return Fingerprint(
        topology=np.asarray(backend.topology(spec), dtype=np.float32),
        functional=functional.float().numpy().copy(),
        graph=np.asarray(graph_statistics(layers, cost, preprocessing.size), dtype=np.float32),
        kernel=centred_kernel(features.double().numpy()),
        surprise=meter.surprise(len(images)),
    )


def centred_kernel(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Compute the centred similarity matrix of features, scaled to Frobenius norm 1.

    ``K = H F Fᵀ H / ‖H F Fᵀ H‖`` with ``H = I - 1/n``; the inner product of two such matrices is the linear
    centred kernel alignment of two networks, whatever the widths of their features.

    Source: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019.

    Args:
        features: (n, width).

    Returns:
        (n, n) float32; zeros if all features are equal.
    """
    centred = features - features.mean(0, keepdims=True)
    kernel = centred @ centred.T
    norm = float(np.linalg.norm(kernel))
    scaled: NDArray[np.float32] = (kernel / norm if norm > 0 else kernel * 0).astype(np.float32)
    return scaled
