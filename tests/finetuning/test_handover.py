"""The folder that is handed over: what goes in comes out, and what is not one is refused."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nns.errors import NnsError, UnknownNameError, UsageError, WeightsError
from nns.finetuning import Card, LadderResult, card_json, check_target, load_handover, read_card, write_handover
from nns.plugins import Registry

from .conftest import SIZE


@pytest.fixture
def folder(tmp_path: Path, result: LadderResult, card: Card) -> Path:
    return write_handover(tmp_path / "out", result.module, card)


def test_what_goes_in_comes_out(folder: Path, result: LadderResult, card: Card, registry: Registry) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "card.json",
        "classes.txt",
        "model.safetensors",
    ]
    tuned = load_handover(folder, registry=registry)
    assert tuned.card == replace(card, weights_sha256=tuned.card.weights_sha256)
    assert read_card(folder) == tuned.card
    images = torch.rand(5, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert torch.allclose(tuned.module(images), result.module(images), atol=1e-5)
    for name, tensor in result.module.state_dict().items():
        assert torch.equal(tensor, tuned.module.state_dict()[name])


def test_the_card_says_what_the_command_line_reports(folder: Path) -> None:
    row = json.loads((folder / "card.json").read_text())
    assert (row["format"], row["version"]) == ("nns-finetuned", 1)
    for key in ("network", "params", "val_accuracy", "test_accuracy", "epochs", "seconds", "device"):
        assert row[key] is not None
    keys = {"epoch", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr", "images_per_second"}
    assert set(row["history"][0]) == keys
    assert set(row["tried"][0]) == {"network", "val_accuracy", "epochs", "stopped", "rungs"}
    assert row["recipe"]["lr"] == 0.01


def test_people_can_read_it(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert "nns predict" in text
    assert "| macro F1 on the test split | " in text
    assert "| training | 4 epochs on cpu;" in text
    assert "| calibrated on 100 validation images: logits are divided by " in text
    assert "digit 0" in text
    assert (folder / "classes.txt").read_text().splitlines()[3] == "digit 3"


def test_the_readme_says_what_came_before_the_last_training(tmp_path: Path, result: LadderResult, card: Card) -> None:
    first = replace(card.tried[0], rungs=(2, 4))
    folder = write_handover(tmp_path / "out", result.module, replace(card, tried=(first,), calibration=None))
    text = (folder / "README.md").read_text()
    assert "| training | 4 epochs on cpu, after 2 of the ladder;" in text
    assert "| probabilities | not calibrated |" in text


def test_a_backend_that_is_not_installed_says_what_to_install(folder: Path) -> None:
    edit(lambda row: row.update(backend_from="acme-nets==0.2"))(folder)
    with pytest.raises(UnknownNameError, match="which is not installed: pip install acme-nets==0.2"):
        load_handover(folder, registry=Registry((), ()))


def test_numbers_that_are_not_known_are_null(tmp_path: Path, result: LadderResult, card: Card) -> None:
    unknown = replace(card, val_accuracy=math.nan, test_accuracy=None, seed=-1)
    folder = write_handover(tmp_path / "out", result.module, unknown)
    row = json.loads((folder / "card.json").read_text())
    assert row["val_accuracy"] is None
    assert math.isnan(read_card(folder).val_accuracy)
    assert read_card(folder).test_accuracy is None


def test_an_earlier_one_is_replaced_and_nothing_else(tmp_path: Path, result: LadderResult, card: Card) -> None:
    target = tmp_path / "deep" / "out"
    write_handover(target, result.module, card)
    (target / "model.onnx").write_bytes(b"of the old one")
    write_handover(target, result.module, replace(card, dataset="other"))
    assert read_card(target).dataset == "other"
    assert not (target / "model.onnx").exists()
    assert [path.name for path in target.parent.iterdir()] == ["out"]

    (target / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_handover(target, result.module, card)
    assert (target / "notes.txt").read_text() == "mine"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, result: LadderResult, card: Card) -> None:
    (tmp_path / "photo.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty"):
        write_handover(tmp_path, result.module, card)
    with pytest.raises(UsageError, match="is a file"):
        write_handover(tmp_path / "photo.png", result.module, card)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(UsageError, match="no card"):
        check_target(tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


def test_an_empty_folder_is_used(tmp_path: Path, result: LadderResult, card: Card) -> None:
    assert read_card(write_handover(tmp_path, result.module, card)).network == "0a1b"


def test_a_failed_write_leaves_the_old_one(
    folder: Path, result: LadderResult, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Card) -> str:
        raise OSError("disk full")

    monkeypatch.setattr("nns.finetuning.handover.readme", broken)
    with pytest.raises(OSError, match="disk full"):
        write_handover(folder, result.module, replace(card, dataset="other"))
    assert read_card(folder).dataset == "digits"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        row = json.loads((folder / "card.json").read_text())
        change(row)
        (folder / "card.json").write_text(json.dumps(row))

    return apply


def weights(change: Callable[[bytes], bytes], *, sign: bool = False) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))
        if sign:
            edit(lambda row: row.update(weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest()))(folder)

    return apply


BAD: dict[str, tuple[Callable[[Path], Any], type[NnsError], str]] = {
    "no card": (lambda f: (f / "card.json").unlink(), UsageError, "no fine-tuned network"),
    "no folder": (lambda f: f.rename(f.parent / "moved"), UsageError, "no fine-tuned network"),
    "not json": (lambda f: (f / "card.json").write_text("{"), WeightsError, "not JSON"),
    "nested": (lambda f: (f / "card.json").write_text("[" * 100_000), WeightsError, "not JSON"),
    "not utf-8": (lambda f: (f / "card.json").write_bytes(b"\xff\xfe{}\xff"), WeightsError, "not JSON"),
    "a list": (lambda f: (f / "card.json").write_text("[]"), UsageError, "no card"),
    "huge": (lambda f: (f / "card.json").write_bytes(b" " * (9 * 2**20)), WeightsError, "more than a card"),
    "other format": (edit(lambda row: row.update(format="x")), UsageError, "no card"),
    "newer": (edit(lambda row: row.update(version=2)), UsageError, "version 2"),
    "field missing": (edit(lambda row: row.pop("classes")), WeightsError, "classes"),
    "wrong type": (edit(lambda row: row.update(params="many")), WeightsError, "many"),
    "no classes": (edit(lambda row: row.update(classes=[])), WeightsError, "no classes"),
    "large input": (edit(lambda row: row["preprocessing"].update(size=10**6)), WeightsError, "1000000"),
    "bad history": (edit(lambda row: row.update(history=[3])), WeightsError, "int"),
    "bad tried": (edit(lambda row: row["tried"][0].update(stopped="x")), WeightsError, "stopped"),
    "other classes": (edit(lambda row: row.update(classes=["a", "b"])), WeightsError, "do not fit"),
    "bad config": (edit(lambda row: row["spec"].update(config={"width": 10**9})), UsageError, "width"),
    "backend missing": (edit(lambda row: row["spec"].update(backend="gone")), UnknownNameError, "gone"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), WeightsError, "cannot be read"),
    "flipped bit": (weights(lambda b: b[:-1] + bytes([b[-1] ^ 1])), WeightsError, "damaged"),
    "truncated": (weights(lambda b: b[:100]), WeightsError, "damaged"),
    "signed garbage": (weights(lambda b: b[:100], sign=True), WeightsError, "damaged"),
    "a pickle": (weights(lambda _: b"\x80\x04cos\nsystem\n.", sign=True), WeightsError, "damaged"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_folders_are_refused(folder: Path, registry: Registry, what: str) -> None:
    spoil, error, message = BAD[what]
    spoil(folder)
    with pytest.raises(error, match=message):
        load_handover(folder, registry=registry)


def test_card_json_is_plain(card: Card) -> None:
    assert json.loads(json.dumps(card_json(card), allow_nan=False)) == card_json(card)


def test_a_place_that_takes_no_folders_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="takes no folders"):
        check_target(tmp_path / "file" / "model")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(UsageError, match="takes no folders"):
        check_target(tmp_path / "new" / "model")
