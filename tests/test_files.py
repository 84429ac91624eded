import os
import subprocess
import time

import pytest

from nns.files import real_path, replacing, replacing_folder, sweep_beside, write_whole


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


def leave(path, pid, age=3600.0):
    """Leave a folder as a process that was killed between the two renames does."""
    left = path.with_name(f".{pid}-0123abcd.{path.name}")
    (left / "old").mkdir(parents=True)
    (left / "old" / "kept.txt").write_text("kept")
    os.utime(left, (time.time() - age,) * 2)
    return left


@pytest.fixture
def ended():
    """A process id that nobody has any more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_killed_processes_left_is_swept_and_what_they_had_moved_comes_back(tmp_path, ended):
    path = tmp_path / "model"
    left = leave(path, ended)
    file = tmp_path / f".{ended}-89abcdef.model"
    file.write_text("half")
    os.utime(file, (0, 0))
    sweep_beside(path)
    assert (path / "kept.txt").read_text() == "kept"
    assert not left.exists()
    assert not file.exists()
    left = leave(path, ended)
    sweep_beside(path)
    assert not left.exists()
    assert (path / "kept.txt").exists()


def test_what_may_still_be_written_stays(tmp_path, ended):
    path = tmp_path / "model"
    running, young, other = leave(path, os.getpid()), leave(path, ended, age=5), leave(tmp_path / "model2", ended)
    mine = tmp_path / ".notes-of-mine.model"
    mine.write_text("mine")
    sweep_beside(path)
    assert all(each.exists() for each in (running, young, other, mine))
