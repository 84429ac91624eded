"""The doctor finds what is wrong, and says what to do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from nns.data import Dataset, DoctorReport, diagnose, inspect_dataset

from .conftest import MakeFolder, class_files, encoded


def said(report: DoctorReport, severity: str) -> str:
    return "\n".join(f"{f.what}; {f.next_step}" for f in report.findings if f.severity == severity)


def test_a_healthy_dataset_has_no_findings_but_notes(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"cat": 20, "dog": 15}))
    dataset = Dataset.open(root)
    report = inspect_dataset(dataset)
    assert report.ok
    assert report.counts == {"cat": {"all": 20}, "dog": {"all": 15}}
    assert report.digest == dataset.digest
    assert report.images == 35
    assert report.imbalance == 20 / 15
    assert report.smallest == report.largest == (12, 8)
    assert report.modes == {"RGB": 35}
    assert {f.severity for f in report.findings} == {"note"}


def test_everything_wrong_at_once(make_folder: MakeFolder) -> None:
    files = class_files({"a": 44, "b": 12, "c": 2}, "train/") | class_files({"a": 3}, "val/", 100)
    files |= {
        "train/a/text.png": b"text",
        "train/b/same.png": 0,  # also train/a/0.png: a conflict
        "train/a/again.png": 1,  # a spare copy of train/a/1.png
        "val/a/leak.png": 2,  # also train/a/2.png
        "train/a/notes.md": b"",
        "extra/x.png": 200,
        "train/loose.png": 150,
    }
    report = inspect_dataset(Dataset.open(make_folder(files), require_labels=False))
    assert report.ok, "all this can be trained on"
    assert report.counts["a"] == {"train": 46, "val": 4}
    assert [s.path for s in report.unreadable] == ["train/a/text.png"]
    assert len(report.duplicates) == 3
    warnings = said(report, "warning")
    assert "1 image cannot be read" in warnings
    assert "1 image in more than one class (train/a/0.png = train/b/same.png)" in warnings
    assert "1 image in more than one split (train/a/2.png = val/a/leak.png)" in warnings
    assert "'a' has 45 images, 'c' has 2" in warnings
    assert "1 class with fewer than 10 training images ('c': 2)" in warnings
    assert "val has no images of 2 classes (b, c)" in warnings
    assert "2 left out" in warnings
    assert "1 spare copy" in said(report, "note")
    assert "1 file ignored" in said(report, "note")


def test_odd_pixels_are_counted(make_folder: MakeFolder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [Image.new("RGB", (40, 50), name) for name in ("red", "blue")]
    files = class_files({"a": 3, "b": 3}) | {
        "a/alpha.png": encoded(Image.new("RGBA", (70, 70))),
        "a/deep.png": encoded(Image.fromarray(np.zeros((90, 90), np.uint16))),
        "b/cmyk.jpg": encoded(Image.new("CMYK", (400, 300)), "JPEG"),
        "b/turned.jpg": encoded(Image.new("RGB", (64, 32)), "JPEG", exif=exif),
        "b/moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    }
    report = inspect_dataset(Dataset.open(make_folder(files)))
    assert (report.transparent, report.deep, report.rotated, report.animated) == (1, 1, 1, 1)
    assert report.modes["CMYK"] == 1
    assert report.smallest == (12, 8)
    assert report.largest == (400, 300)
    notes = said(report, "note")
    for part in ("1 image with transparency", "more than 8 bits", "CMYK", "EXIF", "several frames", "12x8"):
        assert part in notes


def test_what_cannot_be_trained_on_is_an_error(make_folder: MakeFolder) -> None:
    report = diagnose(make_folder(class_files({"a": 3, "b": 2}) | {"b/x.png": b"text"}))
    assert not report.ok
    assert "'b' has 2 images readable" in said(report, "error")
    assert report.findings[0].severity == "error"


def test_nothing_readable_is_an_error(make_folder: MakeFolder) -> None:
    report = diagnose(make_folder({"a/x.png": b"text", "b/y.png": b""}))
    assert not report.ok
    assert "none of the 2 images" in said(report, "error")


def test_flat_folder_is_a_warning(make_folder: MakeFolder) -> None:
    report = diagnose(make_folder({"x.png": 0, "y.png": 1}))
    assert report.ok
    assert "searched with, not fine-tuned on" in said(report, "warning")
    assert report.counts == {"": {"all": 2}}


def test_what_cannot_be_opened_is_a_report_too(tmp_path: Path) -> None:
    report = diagnose(tmp_path / "nope")
    assert not report.ok
    assert report.findings[0].next_step == "give a folder, a .csv or torchvision:NAME"


def test_report_is_json(make_folder: MakeFolder) -> None:
    report = diagnose(make_folder(class_files({"a": 3, "b": 3}) | {"a/copy.png": 0, "a/x.txt": b""}))
    document = json.loads(json.dumps(asdict(report)))
    assert document["ok"] is True
    assert document["duplicates"][0]["paths"] == ["a/0.png", "a/copy.png"]
