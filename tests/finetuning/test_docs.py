"""docs/finetuning.md says what the code does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from nns.finetuning import Card, write_handover
from nns.finetuning._climber import Stopped
from nns.finetuning.card import FORMAT, VERSION
from nns.finetuning.handover import CARD, CLASSES, MODEL, README
from nns.types import ArchitectureSpec, Preprocessing

PAGE = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")


def test_files_and_reasons_are_named() -> None:
    for word in (MODEL, CARD, CLASSES, README, *get_args(Stopped)):
        assert f"`{word}`" in PAGE
    assert f"format `{FORMAT}`, version {VERSION}:" in PAGE


def test_the_examples_run(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "mydata" / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8) + (150 if label == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "mydata" / label / f"{number}.png")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("photo.png")
    ladder, use = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(ladder, names)
    assert "halved" in capsys.readouterr().out

    result = names["result"]
    spec = ArchitectureSpec("timm", result.winner.name)
    write_handover(
        "mynetwork", result.module, replace(card, spec=spec, classes=("dark", "light"), preprocessing=Preprocessing(32))
    )
    exec(use, names)
    assert "missing.png no such file" in capsys.readouterr().out
