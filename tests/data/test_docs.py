"""docs/datasets.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nns.data.formats.torchvision import ROOT_VARIABLE
from nns.data.left_out import IMAGE_EXTENSIONS
from nns.data.names import SPLIT_WORDS

from .conftest import MakeFolder, class_files

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_extensions_splits_and_variables_are_named() -> None:
    for word in (*IMAGE_EXTENSIONS, *SPLIT_WORDS, ROOT_VARIABLE):
        assert word in PAGE


def test_the_examples_run(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(make_folder(class_files({"cat": 5, "dog": 5}), "pets").parent)
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec("".join(examples), {})
    out = capsys.readouterr().out
    assert "(6, 3, 64, 64) ()" in out
    assert "Dataset('pets', 10 images, 2 classes)" in out
    assert "Dataset('10 images', 10 images, unlabelled)" in out
