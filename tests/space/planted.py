"""A made-up zoo with planted structure: datasets have a hidden style that their networks take on."""

from __future__ import annotations

import numpy as np

from nns.space import SpaceData

STYLES = 6


def plant_zoo(
    datasets: int = 40,
    networks: int = 5,
    *,
    images: int = 60,
    feature_dim: int = 96,
    probes: int = 12,
    pretrained: int = 4,
    noise: float = 0.3,
    transfers: int = 0,
    seed: int = 0,
) -> SpaceData:
    """Draw a zoo.

    A dataset's hidden style (STYLES numbers) shifts the features of its images and the features that its
    networks give to the probe images. A network's architecture sets its graph statistics and its quality.
    """
    rng = np.random.default_rng(seed)
    styles = rng.standard_normal((datasets, STYLES))
    to_features = rng.standard_normal((STYLES, feature_dim))
    queries, labels = [], []
    for style in styles:
        of_image = np.arange(images) % 4
        classes = rng.standard_normal((4, feature_dim))
        features = style @ to_features + classes[of_image] + rng.standard_normal((images, feature_dim))
        queries.append(features.astype(np.float32))
        labels.append(of_image.astype(np.int64))
    owner = np.append(np.repeat(np.arange(datasets), networks), np.full(pretrained, -1)).astype(np.int64)
    total = len(owner)
    network_styles = np.where(owner[:, None] >= 0, styles[owner], rng.standard_normal((total, STYLES)))
    architecture = rng.standard_normal((total, 3))
    probe_basis = rng.standard_normal((STYLES + 3, probes, 8))
    hidden = np.concatenate([network_styles, architecture], axis=1)
    features = np.einsum("nh,hpf->npf", hidden, probe_basis) + noise * rng.standard_normal((total, probes, 8))
    features += rng.standard_normal((probes, 8)) * 3
    features -= features.mean(axis=1, keepdims=True)
    kernel = features @ features.transpose(0, 2, 1)
    graph = np.concatenate([architecture @ rng.standard_normal((3, 6)), architecture, np.full((total, 1), 7.0)], axis=1)
    level = styles[:, 0] * 0.8
    quality = architecture[:, 0] * 0.5
    logits = np.where(owner >= 0, level[owner], 0) + quality + 0.1 * rng.standard_normal(total)
    accuracy = np.where(owner >= 0, 1 / (1 + np.exp(-logits)), np.nan)
    moved_n, moved_d = rng.integers(0, total, transfers), rng.integers(0, max(datasets, 1), transfers)
    distance = ((network_styles[moved_n] - styles[moved_d]) ** 2).mean(axis=1)
    moved = level[moved_d] + quality[moved_n] - 0.5 * distance + 0.1 * rng.standard_normal(transfers)
    return SpaceData(
        network_ids=tuple(f"net{i:05d}" for i in range(total)),
        blocks={
            "graph": graph.astype(np.float32),
            "kernel": kernel.astype(np.float32),
            "topology": rng.integers(2, 8, (total, 5)).astype(np.float32),
            "functional": (
                network_styles @ rng.standard_normal((STYLES, 40)) + 0.5 * rng.standard_normal((total, 40))
            ).astype(np.float32),
        },
        accuracy=accuracy,
        dataset_index=owner,
        dataset_names=tuple(f"family{d % max(datasets // 2, 1)}-part{d}" for d in range(datasets)),
        queries=tuple(queries),
        query_labels=tuple(labels),
        transfer_network=moved_n.astype(np.int64),
        transfer_dataset=moved_d.astype(np.int64),
        transfer_accuracy=1 / (1 + np.exp(-moved)),
    )
