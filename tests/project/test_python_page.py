"""docs/python.md says what the code does: every block runs, in order, as a reader would run it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import nns

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SCALED_DOWN = {
    'budget="10m"': 'epochs=1, device="cpu"',
    'backends=["timm"], networks=40': 'backends=["example"], networks=2, epochs=1, image_size=16, max_images=10, '
    "transfers=0, pretrained=False, workers=0",
}
"""What is made small, so that the test takes seconds."""


@pytest.fixture
def ran(small_zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    """Run all blocks beside ./mydata, ./birds, ./tiles, photo.jpg and team.h5."""
    shutil.copy(small_zoo.path, tmp_path / "team.h5")
    for name, data in {"mydata": small_zoo.query, "birds": small_zoo.data[0], "tiles": small_zoo.data[1]}.items():
        shutil.copytree(data, tmp_path / name)
    Image.open(small_zoo.image).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    text = "\n".join(BLOCKS)
    for shown, small in SCALED_DOWN.items():
        assert shown in text
        text = text.replace(shown, small)
    names: dict[str, Any] = {}
    exec(compile(text, "docs/python.md", "exec"), names)
    return names


def test_every_block_runs_and_results_are_those_of_the_command_line(ran: dict[str, Any], nns: Any) -> None:
    found = nns("search", "./mydata", "--zoo", "team.h5", "--max-params", "5M", "--top", 5, "--json").json
    document = json.loads(json.dumps(ran["document"]))
    assert {**found, "seconds": 0} == {**document, "seconds": 0}
    assert set(found["seconds"]) == set(document["seconds"])
    for name in ("result", "report", "built"):
        assert len(repr(ran[name])) < 300
        assert ran[name]._repr_html_().startswith("<div>")
        json.dumps(ran[name].to_dict(), allow_nan=False)
    assert next(reversed(list(ran["network"].parameters()))).shape[0] == 8
    assert ran["built"].networks == 2


def test_names_of_strangers_are_escaped() -> None:
    from nns.tables import Table

    html = Table("<b>", [("<i>", "left")], [["<script>"]], "a\n<u>").html()
    assert not re.search("<(b|i|script|u)>", html)
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    "wrong", [{"max_params": "5X"}, {"max_params": -1}, {"max_size": True}, {"max_latency": "10"}, {"max_macs": ""}]
)
def test_limits_are_checked_before_anything_is_read(wrong: dict[str, Any]) -> None:
    for verb in (nns.search, nns.finetune):
        with pytest.raises(nns.UsageError):
            verb("/nowhere", "/nowhere.h5", **wrong)


def test_without_a_zoo_the_named_one_is_taken(small_zoo, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NNS_ZOO", str(small_zoo.path))
    assert nns.search(small_zoo.query, max_params=5e6).zoo_path == str(small_zoo.path)
    with pytest.raises(nns.UnknownNameError, match="did you mean 'epochs'"):
        nns.build("/nowhere/zoo.h5", data=["a"], epoch=3)
