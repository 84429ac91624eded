"""Step 5: what was taught, for others: trunks in half precision as safetensors, with a JSON beside each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from starter import lites
from starter.students import BLOCKS, STAGES, OfaStudent, create_cut, create_student

CALIBRATION = 2048
"""Pictures that a subnet's batch-norm statistics are computed from; without that its accuracy is meaningless."""
SUBNETS: dict[str, dict[str, Any]] = {
    "smallest": {"ks": 3, "e": 3, "d": 2},
    "small": {"ks": 5, "e": 3, "d": 3},
    "middle": {"ks": 5, "e": 4, "d": 3},
    "large": {"ks": 5, "e": 4, "d": 4},
    "largest": {"ks": 7, "e": 6, "d": 4},
}
"""A few subnets by name, for measuring."""


def export(name: str, tag: str, crops: Path, students: Path, weights: Path) -> None:
    """Write a student's trunk and its JSON, and for a supernet the pictures that its subnets are calibrated with."""
    folder = students / (name + tag)
    saved = torch.load(folder / "checkpoint.pt", weights_only=True)
    outputs = next(t for n, t in reversed(saved["student"].items()) if n.endswith("bias")).numel()
    student = create_student(name, outputs)
    student.load_state_dict(saved["student"])
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = rows[-1]
    weights.mkdir(parents=True, exist_ok=True)
    half = {n: t.half().contiguous() if t.is_floating_point() else t.contiguous() for n, t in student.trunk().items()}
    supernet = isinstance(student, OfaStudent)
    about = {
        "architecture": name,
        "layout": "OFAMobileNetV3 of ofa" if supernet else f"timm {timm.__version__}",
        "input": 64,
        "mean": lites.MEAN,
        "std": lites.STD,
        "parameters": sum(t.numel() for n, t in student.trunk().items() if _is_parameter(n)),
        "teachers": last["teachers"],
        "data": {"pictures": last["of"], "kinds": json.loads((crops / "manifest.json").read_text())["kinds"]},
        "recipe": last["lesson"],
        "images_seen": last["images"],
        "epochs": round(last["images"] / last["of"], 2),
        "seconds": last["seconds"],
        "loss": last["loss"],
        "licence": "Apache-2.0 (weights of our own; the licences of the pictures are in the manifest of the crops)",
    }  # fmt: skip
    save_file(half, weights / f"{name}{tag}.safetensors", {"architecture": name})
    (weights / f"{name}{tag}.json").write_text(json.dumps(about, indent=1))
    if supernet:
        images = np.load(crops / "images64.npy", mmap_mode="r")[:CALIBRATION]
        np.save(weights / "calibration.npy", images)
    size = (weights / f"{name}{tag}.safetensors").stat().st_size
    print(f"{name}{tag}: {about['parameters']:,} parameters, {size:,} bytes")


def _is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def load_trunk(path: Path, classes: int) -> nn.Module:
    """Create timm's network with exported weights and a fresh classifier.

    Raises:
        ValueError: If the file lacks anything but a classifier.
    """
    about = json.loads(path.with_suffix(".json").read_text())
    name = about["architecture"]
    network: Any = create_cut(name) if name.startswith("lite") else timm.create_model(name)
    network.reset_classifier(classes)
    _load(network, load_file(path), path)
    result: nn.Module = network
    return result


def load_subnet(path: Path, size: str, classes: int) -> nn.Module:
    """Cut a subnet by its name in :data:`SUBNETS` and recompute its batch-norm statistics.

    Raises:
        ValueError: If the file lacks anything but a classifier.
    """
    from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

    about = json.loads(path.with_suffix(".json").read_text())
    student = OfaStudent(float(about["architecture"].rpartition("_w")[2]), classes)
    _load(student.network, load_file(path), path)
    settings = SUBNETS[size]
    student.network.set_active_subnet(
        ks=[settings["ks"]] * BLOCKS, e=[settings["e"]] * BLOCKS, d=[settings["d"]] * STAGES
    )
    subnet: nn.Module = student.network.get_active_subnet(preserve_weight=True)
    images = torch.from_numpy(np.load(path.with_name("calibration.npy")))
    set_running_statistics(subnet, [(lites.to_input(part), None) for part in images.split(128)])
    return subnet


def _load(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    # nn.Module's own method: ofa's supernets override it with one that says nothing of what is lacking
    lacking = nn.Module.load_state_dict(network, {n: t.float() for n, t in state.items()}, strict=False)
    classifier = {n for n, _ in network.named_parameters() if n.startswith(("classifier", "fc", "head.fc"))}
    if lacking.unexpected_keys or set(lacking.missing_keys) - classifier:
        raise ValueError(f"{path} does not fit: {lacking}")
