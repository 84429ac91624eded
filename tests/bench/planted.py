"""A made-up matrix: networks have a quality of their own and a style, and do best on datasets of that style."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nns.bench.matrix import CandidateRow, Matrix, TaskRow
from nns.space import SpaceData

STYLES = 4
IMAGES = 12
EPOCHS = 4


def plant_matrix(
    families: int = 6,
    per_family: int = 2,
    candidates: int = 10,
    *,
    sources: int = 5,
    others: int = 2,
    repetitions: int = 2,
    match: float = 0.1,
    quality: float = 0.1,
    noise: float = 0.002,
    seed: int = 0,
) -> Matrix:
    """Draw a matrix.

    The first two candidates are of ImageNet, the others were trained on the zoo's datasets in turn. The zoo's first
    dataset is of the family of the first query datasets. Within a family datasets are near copies.
    """
    rng = np.random.default_rng(seed)
    tasks, networks = families * per_family, candidates + others
    source_styles = rng.standard_normal((sources, STYLES))
    family_styles = rng.standard_normal((families, STYLES))
    source_styles[0] = family_styles[0]
    task_styles = np.repeat(family_styles, per_family, axis=0) + 0.05 * rng.standard_normal((tasks, STYLES))
    owner = (np.arange(networks) - 2) % sources
    owner[:2] = -1
    styles = np.where(owner[:, None] >= 0, source_styles[owner], 0.0)
    strength = rng.standard_normal(networks)
    fit = task_styles @ styles[:candidates].T / STYLES
    truth = np.clip(0.6 + quality * strength[:candidates] + match * fit + 0.05 * rng.standard_normal((tasks, 1)), 0, 1)

    def noisy(*shape: int) -> np.ndarray:
        return np.clip(truth + noise * rng.standard_normal((*shape, tasks, candidates)), 0, 1).astype(np.float32)

    params = np.linspace(2e5, 6e6, candidates).round() + 100 * rng.integers(2, 20, (tasks, 1))
    val = noisy(repetitions)
    steps = np.linspace(0.5, 1.0, EPOCHS)
    to_features = rng.standard_normal((STYLES, 16))
    every_style = np.concatenate([source_styles, task_styles])
    queries = tuple(
        (style @ to_features + rng.standard_normal((IMAGES, 16))).astype(np.float32) for style in every_style
    )
    images = rng.standard_normal((STYLES + 1, 8, 6))
    features = np.einsum("nh,hpf->npf", np.concatenate([styles, strength[:, None]], axis=1), images)
    task_families = [f"q{task // per_family}" for task in range(tasks)]
    blocks = {
        "graph": np.stack([strength, np.ones(networks), rng.standard_normal(networks)], axis=1),
        "kernel": features @ features.transpose(0, 2, 1),
        "surprise": rng.standard_normal((networks, 2, 8)),
        "topology": rng.integers(0, 5, (networks, 5)),
        "functional": styles @ rng.standard_normal((STYLES, 12)),
    }
    seconds = np.broadcast_to(params / 1e6, (tasks, candidates))
    return Matrix(
        about={"zoo": "f" * 64, "recipe": {"epochs": EPOCHS}, "versions": {"nns": "0"}, "machine": {"cores": 2}},
        tasks=tuple(TaskRow(f"task{t}", task_families[t], f"set{t}", f"{t:064d}", 3, 40) for t in range(tasks)),
        candidates=tuple(
            CandidateRow(
                f"{c:016d}",
                f"arch{c % 3}",
                "example",
                "imagenet-1k" if c < 2 else f"source{owner[c]}",
                "" if c < 2 else f"set-of-source{owner[c]}",
                0.7 + 0.05 * c if c < 2 else float("nan"),
            )
            for c in range(candidates)
        ),
        params=params.astype(np.int64),
        val=val,
        test=noisy(repetitions),
        head_val=noisy(),
        head_test=noisy(),
        curves=(val[..., None] * steps).astype(np.float32),
        epoch_seconds=np.broadcast_to(seconds[None, ..., None], (repetitions, tasks, candidates, EPOCHS)).astype("f4"),
        feature_seconds=(seconds / 4).astype(np.float32),
        scores={"ridge": noisy(), "knn": noisy() ** 2},
        score_seconds={name: np.full((tasks, candidates), 0.25, np.float32) for name in ("ridge", "knn")},
        zoo=SpaceData(
            network_ids=tuple(f"{n:016d}" for n in range(networks)),
            blocks={name: np.asarray(block, np.float32) for name, block in blocks.items()},
            accuracy=np.where(owner >= 0, np.clip(0.7 + quality * strength, 0, 1), np.nan),
            dataset_index=owner.astype(np.int64),
            dataset_names=(*(f"source{s}" for s in range(sources)), *(f"task{t}" for t in range(tasks))),
            queries=queries,
            query_labels=tuple(np.arange(IMAGES) % 3 for _ in queries),
            families=("q0", *(f"s{s}" for s in range(1, sources)), *task_families),
        ),
    )


def with_truth(matrix: Matrix, truth: Any, **changes: Any) -> Matrix:
    """Replace all accuracies by given ones, (T, C) or nested lists, NaN where there is no cell."""
    rows = np.array(truth, np.float32)
    steps = np.linspace(0.5, 1.0, matrix.curves.shape[-1], dtype=np.float32)
    found = {"val": rows[None], "test": rows[None], "head_val": rows, "head_test": rows}
    found["curves"] = rows[None, ..., None] * steps
    found["epoch_seconds"] = matrix.epoch_seconds[:1]
    return replace(matrix, **(found | changes))
