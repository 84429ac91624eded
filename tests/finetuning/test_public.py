"""The door of nns.finetuning: what is listed is there, and torch is loaded at first use only."""

from __future__ import annotations

import subprocess
import sys

import nns.finetuning


def test_every_public_name_is_there() -> None:
    assert sorted(nns.finetuning.__all__) == sorted(nns.finetuning._HOMES)
    for name in nns.finetuning.__all__:
        assert getattr(nns.finetuning, name) is not None
    assert dir(nns.finetuning) == sorted(nns.finetuning.__all__)


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from nns.finetuning import *; "
        "sys.exit(','.join({'torch', 'timm', 'torchvision', 'h5py', 'onnx'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
