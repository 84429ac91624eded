"""Each file of a dataset is opened once and hashed once by one command, however many of its parts need it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nns.data import reading
from nns.plugins import load_plugins

_opened: Counter[str] | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], str) and arguments[0].endswith(".png"):
        _opened[arguments[0]] += 1


sys.addaudithook(_hook)  # sees every open, of whatever library; it cannot be removed, so it is mute between tests


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Files that were opened, and ``"hashed"``: how often one was hashed."""
    global _opened
    counts: Counter[str] = Counter()
    hashed = reading.sha256
    monkeypatch.setattr(reading, "sha256", lambda *content: (counts.update(["hashed"]), hashed(*content))[1])
    _opened = counts
    yield counts
    _opened = None


def once(folders: list[Path]) -> Counter[str]:
    files = [str(path) for folder in folders for path in folder.rglob("*.png")]
    assert len(files) > 40
    return Counter([*files, *["hashed"] * len(files)])


def test_search(opened, nns, small_zoo):
    assert nns("search", small_zoo.query, "--zoo", small_zoo.path, "--probe", "--json").code == 0
    assert opened == once([small_zoo.query])


def test_finetune_with_its_own_search(opened, nns, small_zoo, tmp_path):
    done = nns(
        "finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", tmp_path / "model", "--backend", "example",
        "--epochs", 1, "--device", "cpu", "--json",
    )  # fmt: skip
    assert done.code == 0
    assert opened == once([small_zoo.query])


def test_build_of_three_networks(opened, nns, small_zoo, tmp_path):
    done = nns(
        "zoo", "build", tmp_path / "zoo.h5", "--data", *small_zoo.data, "--backend", "example", "--networks", 3,
        "--image-size", 32, "--epochs", 1, "--workers", 0, "--json",
    )  # fmt: skip
    assert (done.code, done.json["networks"]) == (0, 3)
    assert opened == once(list(small_zoo.data))


def test_zoo_add(opened, nns, small_zoo, tmp_path):
    timm = load_plugins().backend("timm")
    state = timm.build(timm.offers("lcnet_050")[0], 2, seed=0).state_dict()
    save_file({name: torch.clone(tensor) for name, tensor in state.items()}, tmp_path / "net.safetensors")
    done = nns(
        "zoo", "add", small_zoo.copy(tmp_path), tmp_path / "net.safetensors", "--backend", "timm",
        "--architecture", "lcnet_050", "--data", small_zoo.query, "--json",
    )  # fmt: skip
    assert done.code == 0
    assert opened == once([small_zoo.query])


def test_doctor(opened, nns, small_zoo):
    assert nns("doctor", small_zoo.query, "--json").code == 0
    assert opened == once([small_zoo.query])


def test_what_finds_no_room_is_read_again_but_not_hashed_again(
    opened, small_zoo, monkeypatch, nns: Callable[..., object]
):
    monkeypatch.setattr(reading, "KEPT_BYTES", 2000)
    assert nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json").code == 0
    files = len(list(small_zoo.query.rglob("*.png")))
    assert opened["hashed"] == files
    assert opened.total() - opened["hashed"] > files, "this test keeps too much"
    assert max(count for name, count in opened.items() if name != "hashed") == 2


def test_room_is_given_back(small_zoo):
    from nns import Dataset

    before = reading._room.used
    dataset = Dataset.open(small_zoo.query)
    assert dataset.digest
    assert reading._room.used > before
    del dataset
    assert reading._room.used == before
