"""What is left out is named, with the reason; what can be read is not left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nns.data import Dataset, diagnose
from nns.data.left_out import IMAGE_EXTENSIONS
from nns.errors import DatasetError

from .conftest import MakeFolder, class_files, encoded, noise

SAVED = {
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".tga": "TGA",
    ".PBM": "PPM",
    ".qoi": "QOI",
}


def said(root: Path) -> str:
    return "\n".join(f"{finding.severity}: {finding.what}" for finding in diagnose(root).findings)


@pytest.mark.parametrize("extension", SAVED)
def test_what_pillow_reads_is_an_image(make_folder: MakeFolder, extension: str) -> None:
    image = noise(1, (40, 40)).convert("1" if extension == ".PBM" else "RGB")
    files = class_files({"a": 3, "b": 3}) | {f"a/x{extension}": encoded(image, SAVED[extension])}
    report = diagnose(make_folder(files))
    assert report.images == 7
    assert report.unreadable == ()


def test_every_extension_is_one_that_pillow_reads() -> None:
    Image.init()
    known = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    assert IMAGE_EXTENSIONS - known <= {".jif", ".pjp", ".pjpeg", ".mpo"}, "these are JPEGs under other names"


def test_images_that_cannot_be_read_are_named(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"a": 3, "b": 3}) | {f"a/{number}.HEIC": b"x" for number in range(4)})
    assert (
        "warning: 4 left out, of a format that is not read (each .heic is HEIC, which cannot be read: a/0.HEIC"
        in said(root)
    )
    assert "left out: 4 (.heic is HEIC, which cannot be read)" in Dataset.open(root).seen.line()


def test_a_class_of_such_images_alone_says_so(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"a": 3, "b": 3}) | {f"c/{number}.heic": b"x" for number in range(4)})
    with pytest.raises(DatasetError, match="class 'c' has no images in .*which holds 4 .*HEIC.*; convert them to PNG"):
        Dataset.open(root)
    root = make_folder({f"c/{number}.heic": b"x" for number in range(4)}, "only")
    with pytest.raises(DatasetError, match="holds no images but 4 .*HEIC"):
        Dataset.open(root)


@pytest.mark.parametrize(
    "name", ["__MACOSX", ".ipynb_checkpoints", "lost+found", "@eaDir", "$RECYCLE.BIN", "__pycache__", "a/@eaDir"]
)
def test_folders_of_systems_and_tools_are_no_classes(make_folder: MakeFolder, name: str) -> None:
    root = make_folder(class_files({"a": 3, "b": 3}) | class_files({name: 3}, "", 50))
    dataset = Dataset.open(root)
    assert dataset.classes == ("a", "b")
    assert len(dataset) == 6
    assert [skipped.path for skipped in dataset.ignored] == ([] if name.startswith(".") else [name])
    assert "warning: 1 left out" not in said(root)


def test_a_network_of_nns_is_no_class(make_folder: MakeFolder) -> None:
    files = class_files({"a": 3, "b": 3})
    digest = Dataset.open(make_folder(files)).digest
    network = {"data-nns/card.json": b"{}", "data-nns/model.safetensors": b"", "data-nns/figure.png": 9}
    root = make_folder(files | network)
    assert Dataset.open(root).classes == ("a", "b")
    assert Dataset.open(root).digest == digest
    assert "note: 1 folder ignored (data-nns: a network that nns wrote)" in said(root)


def test_a_link_that_points_at_itself_is_an_unreadable_image(make_folder: MakeFolder) -> None:
    root = make_folder(class_files({"a": 3, "b": 3}))
    (root / "a" / "self.png").symlink_to("self.png")
    (root / "a" / "self.txt").symlink_to("self.txt")
    report = diagnose(root)
    assert [skipped.path for skipped in report.unreadable] == ["a/self.png"]
    assert [skipped.path for skipped in report.ignored] == ["a/self.txt"]


@pytest.mark.parametrize("name", ["a/picture", "a/x.jpg.1", "a/x.png.part", "x.PNG_", "a/x.dat"])
def test_an_image_that_is_not_named_like_one_is_said(make_folder: MakeFolder, name: str) -> None:
    root = make_folder(class_files({"a": 3, "b": 3}) | {name: 9, "a/notes": b"text", "a/x.txt": b"PNG"})
    assert f"warning: 1 left out ({name}: an image, but not named like one)" in said(root)


def test_only_so_many_files_of_other_kinds_are_opened(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr("nns.data.formats._tree.looks_like_image", looked.append)
    Dataset.open(make_folder(class_files({"a": 3, "b": 3}) | {f"a/{number}.txt": b"" for number in range(70)}))
    assert len(looked) == 50
