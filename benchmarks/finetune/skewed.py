"""Skewed classes: the loop as it is, and with as many images of each class drawn.

    OMP_NUM_THREADS=1 python benchmarks/finetune/skewed.py BANK [--ratio 20] [--seeds 1]

Of each task the training images of the classes are thinned out on a geometric scale: the first class keeps all and the
last one in RATIO. Validation and test stay as they are. Macro F1 and accuracy on the test split, 15 epochs at 64 px of
the first five stages of EfficientNet-Lite1.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from nns.backends.steps import predict_classes
from nns.data import Dataset
from nns.finetuning import Recipe, train
from nns.finetuning.measures import macro_f1
from nns.plugins import installed_plugins
from nns.types import ArchitectureSpec, LabelledArrays, SplitArrays

TASKS = (
    "icons-elementary-contexts",
    "emoji-twitter-people",
    "emoji-facebook-category",
    "glyphs-bengali-letters",
    "photos-animal-mnist-5-9",
    "icons-gnome-colors-contexts",
)
MOST = 60
"""Images of the most frequent class."""


def main() -> None:
    """Print a row a task, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--ratio", type=float, default=20.0)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    backend = installed_plugins().backend("timm")
    spec = ArchitectureSpec("timm", "tf_efficientnet_lite1-s5", {}, "imagenet")
    offer = next(each for each in backend.pretrained() if each.spec == spec)
    preprocessing = backend.preprocessing(spec, 64)
    found = []
    for task in TASKS:
        data, _ = Dataset.open(args.bank / task).decode_splits(64, workers=1)
        assert data.test is not None
        thin = thinned(data, args.ratio)
        for seed in range(args.seeds):
            row = []
            for balanced in (False, True):
                module = backend.replace_head(backend.load_pretrained(offer), len(data.classes), seed)
                recipe = replace(Recipe(), epochs=15, device="cpu", balanced=balanced)
                result = train(module, thin, preprocessing, recipe, seed=seed)
                said = predict_classes(result.module, data.test, preprocessing)
                row += [macro_f1(data.test.labels, said), float((said == data.test.labels).mean())]
            found.append(row)
            print(f"{task:30} macro F1 {row[0]:.3f} -> {row[2]:.3f}, accuracy {row[1]:.3f} -> {row[3]:.3f}", flush=True)
    means = np.mean(found, axis=0)
    print(f"{'mean':30} macro F1 {means[0]:.3f} -> {means[2]:.3f}, accuracy {means[1]:.3f} -> {means[3]:.3f}")


def thinned(data: SplitArrays, ratio: float) -> SplitArrays:
    """Keep fewer and fewer training images of each class, the last one in ``ratio`` of the first."""
    rng, kept = np.random.default_rng(0), []
    for place, label in enumerate(np.unique(data.train.labels)):
        members = rng.permutation(np.flatnonzero(data.train.labels == label))
        share = ratio ** -(place / max(1, len(data.classes) - 1))
        kept.append(members[: max(2, round(MOST * share))])
    rows = np.sort(np.concatenate(kept))
    return replace(data, train=LabelledArrays(data.train.images[rows], data.train.labels[rows]))


if __name__ == "__main__":
    main()
