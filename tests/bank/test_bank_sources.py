"""What is read from packages: emoji labels, icon contexts, faces, glyphs, a pickle; and the clients."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFont

from bank import emoji, icons, packages, photos
from bank.catalogue import all_tasks
from bank.drawing import fit_square
from bank.errors import BankError, RegistryError
from bank.fonts import Face
from bank.glyphs import Glyph
from bank.packages import Shelf, Source
from bank.scripts import ARABIC, HAN_LIKE, HANGUL, HIRAGANA, KATAKANA, Letters
from bank.task import MAX_CLASSES, MIN_CLASSES

Put = Callable[..., Path]


def test_catalogue_has_over_a_hundred_tasks_within_limits() -> None:
    tasks = all_tasks()
    assert len(tasks) >= 110
    for task in tasks.values():
        assert 32 <= task.size <= 96, task.name
        assert MIN_CLASSES <= task.max_classes <= MAX_CLASSES
        assert "/" not in task.name
        assert "0x" not in repr(task.collect), f"{task.name}: its recipe must not hold an address"


def test_catalogue_uses_only_the_agreed_registries_packages() -> None:
    sources = {source for task in all_tasks().values() for source in task.sources}
    others = {source.name for source in sources if source.kind != "deb"}
    assert others == {
        "elpv-dataset",
        "animal-mnist",
        *(f"emoji-datasource-{vendor}" for vendor in emoji.VENDORS),
    }
    for source in sources:
        if source.kind == "deb":
            assert (
                source.name.startswith(("fonts-", "culmus")) or "icon" in source.name or "gnome-colors" in source.name
            )


def test_letters_of_a_script_are_different_classes() -> None:
    for text in (ARABIC, HIRAGANA, KATAKANA, HANGUL, HAN_LIKE):
        assert len(set(text)) == len(text)


def test_emoji_labels(emoji_shelf: Shelf) -> None:
    by_tone = emoji.Pictures("by_tone", ("apple",))(emoji_shelf)
    assert {label: len(found) for label, found in by_tone.items()} == {"light": 1}
    plain = emoji.Pictures("by_plain_subcategory", ("apple",), ("Objects",))(emoji_shelf)
    assert sum(len(found) for found in plain.values()) == 80


@pytest.mark.parametrize(
    ("codes", "gender"),
    [("1F468-200D-1F33E", "man"), ("1F3C3-200D-2640-FE0F", "woman"), ("1F9D1-200D-1F33E", "person")],
)
def test_emoji_gender(codes: str, gender: str) -> None:
    one = emoji.Emoji("apple", "x.png", "People & Body", "person-role", "farmer", tuple(codes.split("-")))
    assert emoji.by_gender(one) == gender


def test_icons_are_read_in_both_folder_orders_without_links(
    shelf: Shelf, put: Put, picture: Callable[[int], Image.Image]
) -> None:
    base = put(shelf, Source("deb", "some-theme")) / "usr/share/icons/Some"
    for folder in ("48x48/apps", "mimes/48", "22x22/apps", "legacy/48"):
        (base / folder).mkdir(parents=True)
        picture(hash(folder) % 97).save(base / folder / "one.png")
    (base / "48x48/apps/link.png").symlink_to("one.png")
    picture(3).save(base / "48x48/apps/go-symbolic.png")
    read = icons.read_theme(shelf, icons.Theme("some", "some-theme", "Some", ("48",)))
    assert {(icon.context, icon.name) for icon in read} == {("apps", "one"), ("mimetypes", "one")}


@pytest.fixture
def face(shelf: Shelf, put: Put) -> Face:
    """A face on the shelf: the one that Pillow carries."""
    font = ImageFont.load_default(size=20)
    path = put(shelf, Source("deb", "fonts-made")) / "made.ttf"
    font.path.seek(0)
    path.write_bytes(font.path.read())
    return Face("fonts-made", "deb/fonts-made/made.ttf", 0, "Made", 400, False, ((0x41, 0x5A),))


@pytest.mark.parametrize("ink", ["plain", "inverse", "colour", "noisy"])
def test_glyphs_are_drawn_alike_from_the_same_seed(shelf: Shelf, face: Face, ink: str) -> None:
    glyph = Glyph(face, "R", ink)
    first, again, other = (glyph.draw(shelf, 48, Random(seed)) for seed in (1, 1, 2))
    assert first and again and other
    assert first.size == (48, 48)
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_a_letter_that_no_face_has_is_no_class(shelf: Shelf, face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bank.scripts.faces_of", lambda *_: [face])
    found = Letters("Aа", ("fonts-made",), "plain", 10)(shelf)
    assert list(found) == ["U+0041"]
    assert len({glyph.key for glyph in found["U+0041"]}) == 12


def test_faces_are_indexed_with_their_characters(shelf: Shelf, face: Face) -> None:
    pytest.importorskip("fontTools")
    from bank.fonts import package_faces

    (read,) = package_faces(shelf, "fonts-made")
    assert read.has("AZaz09")
    assert not read.has("ሀ")
    assert (shelf.root / "faces" / "fonts-made.json").is_file()


def test_wide_pictures_are_centred_on_a_square() -> None:
    image = fit_square(Image.new("RGBA", (80, 40), (255, 0, 0, 255)), 64)
    assert image.size == (64, 64)
    assert image.getpixel((32, 2))[3] == 0
    assert image.getpixel((32, 32)) == (255, 0, 0, 255)


def test_animal_mnist_is_read_without_running_its_pickle(shelf: Shelf, put: Put, tmp_path: Path) -> None:
    folder = put(shelf, photos.ANIMALS) / "animal_mnist" / "data" / "Animal_MNIST"
    folder.mkdir(parents=True)
    data = np.zeros((4, 28, 28), dtype=np.uint8)
    (folder / "animal_data_version_3.gz").write_bytes(gzip.compress(pickle.dumps(data, protocol=4)))
    assert photos.load_array(shelf, "animals").shape == (4, 28, 28)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    (folder / "animal_label_version_3.gz").write_bytes(gzip.compress(pickle.dumps(Evil())))
    with pytest.raises(BankError, match="refusing to unpickle"):
        photos.load_labels(shelf, "animals")
    assert not (tmp_path / "evil").exists()


def test_an_unreachable_registry_is_one_line(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "npm error code E1\nnpm error network down\n")

    monkeypatch.setattr(packages.subprocess, "run", fail)
    with pytest.raises(RegistryError, match=r"^npm: cannot fetch some: npm error network down$"):
        shelf.fetch([Source("npm", "some")], lambda _: None)
    assert not list(shelf.root.glob("tmp-*"))


def test_a_package_on_the_shelf_is_not_fetched(shelf: Shelf, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf, Source("npm", "some"), "2.1")
    monkeypatch.setattr(packages, "_run", lambda *_: pytest.fail("fetched"))
    shelf.fetch([Source("npm", "some")], lambda _: None)
    assert shelf.version(Source("npm", "some")) == "2.1"


@pytest.mark.slow
def test_the_command_lays_out_real_tasks_the_same_twice(tmp_path: Path) -> None:
    import sys

    folder = Path(packages.__file__).parent
    digests = []
    for out in ("a", "b"):
        command = [sys.executable, str(folder), str(tmp_path / out), "--cache", str(tmp_path / "cache")]
        subprocess.run([*command, "--only", "digits-*,icons-tango-contexts,glyphs-lao-*"], check=True)
        manifest = json.loads((tmp_path / out / "manifest.json").read_text())
        digests.append({task["name"]: task["digest"] for task in manifest["tasks"]})
    assert digests[0] == digests[1]
    assert len(digests[0]) == 5
