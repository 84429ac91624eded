"""Training images a second on an accelerator: nns beside the loop of timm's training script; then the tests for one.

    python benchmarks/accelerator [--device cuda] [--images 8192] [--size 224] [--batch 128] [--json FILE]
    pytest -m gpu

Same network, batch, precision, optimizer and images, which are noise: nothing here depends on what they show. Both
train from images in memory, as uint8; epochs after the first count, each waited for. The loop of timm is that of its
train.py with ``--amp --amp-dtype bfloat16 --channels-last``: create_optimizer_v2, autocast, its NativeScaler where the
type is float16, and a crop of a batch as nns has it, so that the augmentation is the same as well. About three minutes
on a GPU. No accelerator was lent when this was written, so docs/results.md has no numbers of it; ``--device cpu
--images 48 --size 32 --batch 16 --ways timm nns`` only shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

NETWORKS = ("tf_efficientnet_lite0", "resnet50", "mobilenetv3_small_050")
CLASSES = 10
EPOCHS = 4


def main() -> None:
    """Print a row a network and a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), help="timm first")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.images, 3, args.size, args.size), np.uint8)
    labels = rng.integers(0, CLASSES, args.images)
    rows = []
    for name in args.networks:
        speeds: dict[str, float] = {}
        for way in args.ways:
            speeds[way] = args.images / float(np.median(WAYS[way](name, images, labels, args)))
            print(f"| {name} | {way} | {speeds[way]:.0f} | {speeds[way] / speeds['timm']:.2f} |", flush=True)
        rows.append({"network": name, "images_per_second": speeds, "device": _device_name(args.device)})
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _network(name: str) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(name, num_classes=CLASSES)
    return module


def _nns_epochs(name: str, images: Any, labels: Any, args: Any, share: float | None = None, **more: Any) -> list[float]:
    from nns.finetuning import Recipe, _run, train
    from nns.types import LabelledArrays, Preprocessing, SplitArrays

    if share is not None:
        _run.GPU_SHARE = share
    nothing = LabelledArrays(images[:0], labels[:0])
    data = SplitArrays("noise", tuple(map(str, range(CLASSES))), LabelledArrays(images, labels), nothing, None)
    preprocessing = Preprocessing(args.size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    recipe = replace(Recipe(), epochs=EPOCHS, batch_size=args.batch, device=args.device, augment="crop", **more)
    ends: list[float] = []
    train(_network(name), data, preprocessing, recipe, on_epoch=lambda epoch: ends.append(_now(args.device)))
    return [after - before for before, after in pairwise(ends)]


def _timm_epochs(name: str, images: Any, labels: Any, args: Any) -> list[float]:
    from timm.optim import create_optimizer_v2
    from timm.utils import NativeScaler

    from nns.backends.batches import augmenter
    from nns.backends.steps import half_precision

    device, half = args.device, half_precision("auto", args.device)
    module = _network(name).to(device).to(memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(module, opt="adamw", lr=1e-3, weight_decay=0.01)
    criterion, scaler = nn.CrossEntropyLoss(label_smoothing=0.1), NativeScaler() if half is torch.float16 else None
    crop = augmenter(args.size)
    # in the device's memory, as what nns is compared with has them
    pixels, targets = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
    ends = []
    with torch.backends.cudnn.flags(benchmark=True):
        for _ in range(EPOCHS):
            order = torch.randperm(len(targets), device=device)
            for start in range(0, len(order), args.batch):
                chosen = order[start : start + args.batch]
                batch = (pixels[chosen].float() - 127.5) / 63.75
                batch = crop(batch).to(memory_format=torch.channels_last)
                with torch.autocast(device, dtype=half, enabled=half is not None):
                    loss = criterion(module(batch), targets[chosen])
                if scaler is not None:
                    scaler(loss, optimizer, parameters=module.parameters())
                else:
                    loss.backward()
                    optimizer.step()
                optimizer.zero_grad()
            ends.append(_now(device))
    return [after - before for before, after in pairwise(ends)]


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


WAYS = {
    "timm": _timm_epochs,
    "nns": _nns_epochs,
    "nns --compile": partial(_nns_epochs, compile=True),
    "nns, images not in the GPU's memory": partial(_nns_epochs, share=0.0),
}

if __name__ == "__main__":
    main()
