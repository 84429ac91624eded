import os

import pytest

from nns.files import real_path, replacing, replacing_folder, write_whole


def test_the_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "ä")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    seen = []

    def write():
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            seen.append(temporary.suffix)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()
    assert seen == [".bin"]
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["a.bin"])


def test_the_order_of_system_calls(tmp_path, monkeypatch):
    """The content is flushed before the name changes, the name after."""
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    write_whole(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_takes_the_place_of_another(tmp_path):
    path = tmp_path / "out"
    for text in ("one", "two"):
        with replacing_folder(path) as folder:
            assert os.listdir(folder) == []
            (folder / "a").write_text(text)
    assert ((path / "a").read_text(), os.listdir(tmp_path)) == ("two", ["out"])

    def write():
        with replacing_folder(path) as folder:
            (folder / "a").write_text("three")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write()
    assert ((path / "a").read_text(), os.listdir(tmp_path)) == ("two", ["out"])


def test_a_folder_whose_second_rename_fails_comes_back(tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.mkdir()
    (path / "a").write_text("one")
    real = type(path).rename

    def rename(self, target):
        if self.name == "new":
            raise OSError("no")
        return real(self, target)

    monkeypatch.setattr(type(path), "rename", rename)
    with pytest.raises(OSError, match="no"), replacing_folder(path) as folder:
        (folder / "a").write_text("two")
    assert ((path / "a").read_text(), os.listdir(tmp_path)) == ("one", ["out"])


def test_a_link_that_points_at_itself_is_a_path_like_others(tmp_path):
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "folder").symlink_to(tmp_path)
    assert real_path(tmp_path / "self") == tmp_path.resolve() / "self"
    assert real_path(tmp_path / "folder" / "x") == tmp_path.resolve() / "x"


def test_no_path_is_resolved_in_the_way_that_raises():
    from pathlib import Path

    import nns

    source = Path(nns.__file__).parent
    assert not [path for path in source.rglob("*.py") if ".resolve()" in path.read_text()]
