"""Evaluations of labelled images by a folder that was handed over; predictions of folders and lists."""

from __future__ import annotations

import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nns.data import Dataset, splitting
from nns.errors import DatasetError
from nns.finetuning import Card, FineTuned
from nns.finetuning.evaluating import Evaluation, evaluate_network
from nns.finetuning.measures import macro_f1
from nns.finetuning.predicting import Prediction, predict_each

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


class ByColour(torch.nn.Module):
    """Says red, green or blue, whichever the images have most of; in the order of the card's classes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits (n, 3)."""
        return images.mean((2, 3)).flip(1)


@pytest.fixture
def tuned(card: Card) -> FineTuned:
    return FineTuned(ByColour().eval(), replace(card, classes=tuple(COLOURS)))


def write(folder: Path, colour: str, name: str, count: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.full((20, 20, 3), COLOURS[colour], np.uint8)
        pixels[0, 0] = number  # no two are the same
        Image.fromarray(pixels).save(folder / f"{name}{number}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten red ones of which four look blue, five blue ones, no green."""
    write(tmp_path / "data/red", "red", "r", 6)
    write(tmp_path / "data/red", "blue", "b", 4)
    write(tmp_path / "data/blue", "blue", "x", 5)
    return tmp_path / "data"


def test_what_is_right_and_what_is_taken_for_what(tuned: FineTuned, data: Path) -> None:
    found = evaluate_network(tuned, data)
    assert (found.split, found.images, found.accuracy) == ("all", 15, pytest.approx(11 / 15))
    assert "not those that it was fine-tuned on" in str(found.tables()[0].caption)
    assert found.confusion == ((5, 0, 0), (0, 0, 0), (4, 0, 6))
    blue, green, red = found.classes
    assert (blue.name, blue.images, blue.precision, blue.recall) == ("blue", 5, pytest.approx(5 / 9), 1.0)
    assert (green.images, green.f1, green.interval) == (0, 0.0, (0.0, 1.0))
    assert (red.images, red.precision, red.recall, red.f1) == (10, 1.0, pytest.approx(0.6), pytest.approx(0.75))
    assert found.macro_f1 == pytest.approx((red.f1 + blue.f1) / 2), "classes without images do not count"
    assert found.interval == (pytest.approx(0.4805, abs=1e-3), pytest.approx(0.8910, abs=1e-3))  # Wilson, 11 of 15
    assert found.confused() == [("red", "blue", 4)]
    assert {mistake.path for mistake in found.mistakes} == {f"red/b{n}.png" for n in range(4)}
    assert {(mistake.true, mistake.said) for mistake in found.mistakes} == {("red", "blue")}
    assert "green" not in str([table.rows for table in found.tables()])


def test_of_the_own_dataset_the_split_that_was_held_back(tuned: FineTuned, tmp_path: Path) -> None:
    for colour in COLOURS:
        write(tmp_path / "own" / colour, colour, "i", 20)
    dataset = Dataset.open(tmp_path / "own")
    own = FineTuned(tuned.module, replace(tuned.card, dataset_digest=dataset.digest, seed=3))
    found = evaluate_network(own, tmp_path / "own")
    arrays, _ = dataset.decode_splits(own.card.preprocessing.size, seed=3)
    assert arrays.test is not None
    assert (found.split, found.images) == ("test", len(arrays.test))
    places, _ = dataset.split_indices(16, seed=3)
    assert dataset.labels[places["test"]].tolist() == arrays.test.labels.tolist()
    assert sum(map(len, places.values())) == 60


def test_a_test_split_of_another_dataset_is_what_counts(tuned: FineTuned, tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 3)):
        write(tmp_path / "d" / split / "red", "red", split, count)
        write(tmp_path / "d" / split / "blue", "blue", split, count)
    found = evaluate_network(tuned, tmp_path / "d")
    assert (found.split, found.images, found.accuracy) == ("test", 6, 1.0)


def test_a_class_that_the_network_does_not_know(tuned: FineTuned, data: Path) -> None:
    write(data / "purple", "red", "p", 2)
    with pytest.raises(DatasetError, match=r"'purple' \(it knows 'blue', 'green', 'red'\)"):
        evaluate_network(tuned, data)


def test_one_image_of_a_class_is_enough_and_none_without_labels(tuned: FineTuned, tmp_path: Path) -> None:
    write(tmp_path / "few/red", "red", "r", 1)
    write(tmp_path / "few/blue", "blue", "b", 1)
    assert evaluate_network(tuned, tmp_path / "few").images == 2
    with pytest.raises(DatasetError, match="no labels"):
        evaluate_network(tuned, tmp_path / "few/red")


def test_images_that_cannot_be_read_are_named(tuned: FineTuned, data: Path) -> None:
    (data / "red" / "broken.png").write_bytes(b"no image")
    found = evaluate_network(tuned, data)
    assert found.images == 15
    assert [skipped.path for skipped in found.skipped] == ["red/broken.png"]


def test_macro_f1_counts_every_class_alike() -> None:
    labels, said = np.array([0] * 98 + [1, 1]), np.zeros(100, np.int64)
    assert macro_f1(labels, said) == pytest.approx((2 * 98 / (98 + 100)) / 2)
    assert macro_f1(labels, labels) == 1


def test_folders_are_walked_and_nothing_is_held(tuned: FineTuned, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def endless() -> Any:
        for path in sorted(data.rglob("*.png")) * 1000:
            taken.append(str(path))
            yield path

    stream = predict_each(tuned, endless(), batch_size=4)
    first = [next(stream) for _ in range(5)]
    assert all(isinstance(each, Prediction) for each in first)
    assert len(taken) == 8, "no further than the batch that is asked for"
    found = list(predict_each(tuned, [data, data / "red" / "r0.png"]))
    assert [each.path for each in found] == [*map(str, sorted(data.rglob("*.png"))), str(data / "red" / "r0.png")]


@pytest.mark.parametrize("place", ["folder", "list"])
def test_predict_and_evaluate_on_the_command_line(
    tuned: FineTuned, data: Path, tmp_path: Path, nns: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    import nns.finetuning as finetuning
    from nns.finetuning import predicting

    for module in (finetuning, predicting):  # TinyBackend is no plugin that the command line knows
        monkeypatch.setattr(module, "load_handover", lambda *_, **__: tuned)
    given = str(data)
    if place == "list":
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(map(str, sorted(data.rglob("*.png")))) + "\n\n"))
        given = "-"
    ran = nns("predict", tmp_path, given, "--csv", tmp_path / "out.csv")
    assert (ran.code, ran.out) == (0, "")
    rows = list(csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8")))
    assert len(rows) == 15
    assert [row["label"] for row in rows if row["path"].endswith("x0.png")] == ["blue"]
    ran = nns("evaluate", tmp_path, data, "--csv", tmp_path / "classes.csv", "--json")
    assert ran.code == 0
    assert ran.json["accuracy"] == pytest.approx(11 / 15)
    assert {"images", "accuracy", "macro_f1", "classes", "confusion"} <= set(ran.json)
    assert [row["class"] for row in csv.DictReader((tmp_path / "classes.csv").open(encoding="utf-8"))] == list(COLOURS)
    shown = nns("evaluate", tmp_path, data)
    assert "73.3% of 15 images right" in shown.out
    assert "Most confused" in shown.out
    assert "is red, taken for blue" in shown.err
    assert f"Next: nns evaluate {tmp_path} {data} --report evaluation.html" in shown.err


def test_a_folder_without_images_says_so(
    tuned: FineTuned, tmp_path: Path, nns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nns.finetuning import predicting

    monkeypatch.setattr(predicting, "load_handover", lambda *_, **__: tuned)
    (tmp_path / "empty").mkdir()
    ran = nns("predict", tmp_path, tmp_path / "empty")
    assert (ran.code, ran.err) == (3, "error: there are no images there\n")


def test_an_evaluation_is_json(tuned: FineTuned, data: Path) -> None:
    found: Evaluation = evaluate_network(tuned, data)
    document = found.to_dict()
    assert document["classes"][0]["name"] == "blue"
    assert document["mistakes"][0]["true"] == "red"


def test_the_page_needs_nothing_and_believes_nothing(
    tuned: FineTuned, data: Path, tmp_path: Path, nns: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nns.finetuning as finetuning

    evil = "<script>alert(1)</script>"
    hostile = replace(tuned.card, classes=("blue", evil, "red"), dataset=evil)
    monkeypatch.setattr(finetuning, "load_handover", lambda *_, **__: FineTuned(tuned.module, hostile))
    page = tmp_path / "page.html"
    ran = nns("evaluate", tmp_path, data, "--report", page)
    assert ran.code == 0, ran.err
    text = page.read_text(encoding="utf-8")
    assert evil not in text
    assert "&lt;script&gt;" in text
    assert not re.findall(r"(src|href)=\"(?!data:)|url\(|@import", text)
    assert "73%" in text
    assert text.count("data:image/png;base64,") == 4
    assert f"{data}" in text, "the command that made it"
    assert nns("evaluate", tmp_path, data, "--report", tmp_path / "no" / "page.html").code == 2


def test_many_classes_have_no_matrix_but_a_list(tuned: FineTuned, data: Path) -> None:
    from nns.cli.evaluation_report import report_page

    many = replace(tuned.card, classes=("blue", "green", "red", *map(str, range(50))))

    class Wide(ByColour):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.cat([super().forward(images), torch.full((len(images), 50), -99.0)], dim=1)

    found = evaluate_network(FineTuned(Wide().eval(), many), data)
    text = re.sub("</?bdi>", "", report_page(found, many, "nns evaluate"))
    assert "red taken for blue: 4 images" in text
    assert 'class="confusion"' not in text
    assert "No image here of 51 classes: green, 0, 1" in text


def test_the_page_can_be_read_out_and_reached_by_keys(tuned: FineTuned, data: Path) -> None:
    """Regions that scroll have names of their own, names keep their direction, and what is drawn is in a table, too."""
    from nns.cli.evaluation_report import report_page

    hebrew = replace(tuned.card, classes=("blue", "green", "בית ספר"))
    (data / "red").rename(data / "בית ספר")
    text = report_page(evaluate_network(FineTuned(tuned.module, hebrew), data), hebrew, "nns evaluate")
    names = re.findall(r'tabindex="0" role="region" aria-label="([^"]+)"', text)
    assert len(names) == len(set(names)) == text.count('class="scroll"') >= 3
    assert '<th scope="row" dir="auto">בית ספר</th>' in text
    assert "<bdi>בית ספר</bdi> taken for <bdi>blue</bdi>: 4 images" in text
    assert text.count("<svg") == text.count('role="img" aria-label=')
    assert all("alt=" in each for each in re.findall("<img[^>]*>", text))
    rows = re.findall(r'<th scope="row">(\d+)% to (\d+)%</th><td class="n">(\d+)</td>', text)
    assert sum(int(images) for _, _, images in rows) == 15


def test_one_image_is_not_one_images(tuned: FineTuned, tmp_path: Path) -> None:
    from nns.cli.evaluation_report import report_page

    write(tmp_path / "d" / "red", "red", "r", 1)
    found = evaluate_network(tuned, Dataset.of([(tmp_path / "d/red/r0.png", "red")], require_labels=False))
    assert "100.0% of 1 image right" in found.tables()[0].title
    assert "1 images" not in report_page(found, tuned.card, "nns evaluate")


def test_every_measure_has_its_interval(tuned: FineTuned, data: Path, tmp_path: Path, nns: Any) -> None:
    blue, _, red = evaluate_network(tuned, data).classes
    assert blue.precision_interval == (pytest.approx(0.2667, abs=1e-3), pytest.approx(0.8112, abs=1e-3))  # 5 of 9
    assert red.precision_interval[1] == pytest.approx(1.0)
    for each in (blue, red):
        assert each.f1_interval[0] < each.f1 < each.f1_interval[1]
    table = evaluate_network(tuned, data).tables()[0]
    assert list(table.rows[0][:4]) == ["blue", "5", "55.6% (27-81%)", "100.0% (57-100%)"]


def test_only_the_split_that_counts_is_decoded(
    tuned: FineTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for colour in COLOURS:
        write(tmp_path / "own" / colour, colour, "i", 20)
    (tmp_path / "own/red/bad.png").write_bytes(b"no image")
    dataset = Dataset.open(tmp_path / "own")
    arrays, skipped = dataset.decode_splits(16, seed=3)
    assert arrays.test is not None
    assert len(dataset.unread_contents) == len(skipped) == 1
    card = replace(tuned.card, dataset_digest=dataset.digest, seed=3)
    decoded: list[str] = []
    decode_each = splitting.decode_each
    monkeypatch.setattr(
        splitting, "decode_each", lambda sources, *more: (decoded.extend(sources), decode_each(sources, *more))[1]
    )
    slow = evaluate_network(FineTuned(tuned.module, card), tmp_path / "own")
    assert len(decoded) == 61 + len(arrays.test)
    decoded.clear()
    quick = evaluate_network(
        FineTuned(tuned.module, replace(card, unreadable=dataset.unread_contents)), tmp_path / "own"
    )
    assert len(decoded) == len(set(decoded)) == len(arrays.test)
    assert [item.path for item in quick.skipped] == [item.path for item in slow.skipped] == ["red/bad.png"]
    assert replace(quick, skipped=()) == replace(slow, skipped=())
