"""Count every pretrained network of the installed timm, and join what is published about it: references.csv.

    python benchmarks/starter/references.py OUT.csv --facts timm_facts.csv [--max-params 30M]

Nothing is downloaded: networks are built on the meta device, where tensors have shapes and no memory. A row is written
as soon as it is counted, and rows that OUT.csv has already are not counted again, so the command can be interrupted.
What cannot be counted (an operation without a meta kernel, an architecture without features) is named on stderr.

Source of the published figures: the result tables of huggingface/pytorch-image-models (Apache-2.0), joined in
timm_facts.csv.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import warnings
from pathlib import Path
from typing import Any

COUNTED = ("name", "license", "hub_id", "hub_file", "image_size", "mean", "std", "trained_on", "classes")
COSTS = ("body_params", "body_macs", "body_bytes", "feature_dim")
PUBLISHED = ("top1", "sketch_top1", "imagenet_r_top1", "imagenet_a_top1", "imagenet_v2_top1", "real_top1")
COLUMNS = (*COUNTED, *COSTS, *PUBLISHED)

UNKNOWN = {"", "unknown", "none"}
"""What timm says of weights whose licence nobody has found out: these are not offered."""


def main() -> int:
    """Count what is not counted yet."""
    options = _options()
    facts = read_facts(options.facts)
    done = {row["name"]: row for row in _rows(options.out)}
    names = list(pretrained_names())
    with open(options.out, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for number, name in enumerate(names, 1):
            if name in done or _published_params(facts.get(name), name) > options.max_params:
                continue
            try:
                row = count(name)
            except Exception as error:  # noqa: BLE001 - any of a thousand architectures may refuse the meta device
                print(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}", file=sys.stderr)
                continue
            if row["body_params"] > options.max_params:
                continue
            writer.writerow(row | published(facts.get(name, []), row["image_size"]))
            file.flush()
            if number % 50 == 0:
                print(f"{number} of {len(names)}", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--max-params", type=float, default=30e6)
    return parser.parse_args()


def pretrained_names() -> list[str]:
    """List timm's pretrained weights whose licence is known and that a hub has, sorted."""
    import timm

    names = []
    for name in sorted(timm.list_pretrained()):
        config = timm.get_pretrained_cfg(name)
        if str(config.license or "").lower() not in UNKNOWN and config.hf_hub_id:
            names.append(name)
    return names


def count(name: str) -> dict[str, Any]:
    """Build one network on the meta device and count it at its own input size.

    Returns:
        The columns of :data:`COUNTED` and :data:`COSTS`.
    """
    import timm
    import torch

    config = timm.get_pretrained_cfg(name)
    size = config.input_size[-1]
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        module = timm.create_model(name, pretrained=False).eval()
        module.requires_grad_(False)  # else the counter looks for gradients, and class attention has none here
        costs = _count(module, size, config.num_classes)
    return {
        "name": name,
        "license": config.license,
        "hub_id": config.hf_hub_id,
        "hub_file": config.hf_hub_filename or "model.safetensors",
        "image_size": size,
        "mean": " ".join(map(str, config.mean)),
        "std": " ".join(map(str, config.std)),
        "trained_on": trained_on(config.tag),
        "classes": config.num_classes,
    } | costs


def _count(module: Any, size: int, classes: int) -> dict[str, int]:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        features = module.forward_head(module.forward_features(image), pre_logits=True).flatten(1).shape[1]
    # the fused attention is unknown to the counter, so attention runs as the matrix products that it is
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(image)
    tensors = [*module.parameters(), *module.buffers()]
    stored = sum(t.numel() * (4 if t.is_floating_point() else t.element_size()) for t in tensors)
    head = (features + 1) * classes
    return {
        "body_params": sum(p.numel() for p in module.parameters()) - head,
        "body_macs": counter.get_total_flops() // 2 - features * classes,
        "body_bytes": stored - 4 * head,
        "feature_dim": features,
    }


def trained_on(tag: str) -> str:
    """Name the data that weights were trained on last, by timm's tag, e.g. ``ra_in1k`` or ``fb_in22k_ft_in1k``."""
    found = re.findall(r"in1k|in12k|in22k|in21k|inat21|laion\w*|cc12m|yfcc\w*|webli|dfn\w*|lvd\w*|mim|pt", tag or "")
    names = {"in1k": "imagenet-1k", "in12k": "imagenet-12k", "in22k": "imagenet-22k", "in21k": "imagenet-21k"}
    return names.get(found[-1], found[-1]) if found else "imagenet-1k"


def read_facts(path: Path) -> dict[str, list[dict[str, str]]]:
    """Read the published figures: name to its rows, one an image size."""
    facts: dict[str, list[dict[str, str]]] = {}
    for row in _rows(path):
        facts.setdefault(row["name"], []).append(row)
    return facts


def published(rows: list[dict[str, str]], size: int) -> dict[str, str]:
    """Pick the figures published for the image size, else for the nearest one."""
    if not rows:
        return dict.fromkeys(PUBLISHED, "")
    nearest = min(rows, key=lambda row: abs(int(row["image_size"]) - size))
    return {name: nearest[name] for name in PUBLISHED}


def _published_params(rows: list[dict[str, str]] | None, name: str) -> float:
    """Return the parameters that are published, so that giants need not be built to be left out; else by name."""
    if rows:
        return float(rows[0]["params_millions"] or 0) * 1e6 * 0.8  # heads count there, and are left out here
    giants = ("giant", "gigantic", "_huge", "_large", "xlarge", "_1b", "_3b", "so400m", "so150m", "_7b", "_big")
    return 1e9 if any(word in name for word in giants) and "mobilenet" not in name else 0.0


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
