"""What is read in a child first: forms and memory without end; checkpoints that are not what they say."""

from __future__ import annotations

import os
import pickle
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from nns.backends.archives import ArchiveError, check_archive
from nns.backends.checkpoint import read_state
from nns.building import read_build_file
from nns.errors import UsageError, ZooError
from nns.jsonable import shown
from nns.rehearsal import TooMuchError, rehearse
from nns.tans.archives import rehearsed
from nns.tans.layout import read_networks


def test_what_ends_is_fine():
    rehearse(lambda: None, 0)
    rehearse(lambda: torch.ones(1000, 1000) @ torch.ones(1000, 1000), 0)
    rehearse(lambda: 1 / 0, 0)  # whoever does it again says so


@pytest.mark.timeout(30)
def test_time():
    started = time.monotonic()
    with pytest.raises(TooMuchError, match="more than 0.5 s"):
        rehearse(lambda: time.sleep(20), 0, seconds=0.5)

    def busy():
        while True:
            pass

    with pytest.raises(TooMuchError):
        rehearse(busy, 0, seconds=0.5)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("take", [lambda: bytearray(3 << 30), lambda: torch.zeros(1 << 30), lambda: [0] * (1 << 29)])
def test_memory(take):
    with pytest.raises(TooMuchError):
        rehearse(take, 0, memory=1 << 30)


def test_a_child_that_dies_and_no_child_that_stays():
    def children():  # those of other tests of this process are none of this one's
        return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()

    before = children()
    with pytest.raises(TooMuchError):
        rehearse(lambda: os._exit(3), 0)
    assert children() == before


def test_nothing_is_said_twice(capfd):
    rehearse(lambda: (os.write(1, b"twice"), sys.stdout.write("twice"), sys.stdout.flush()), 0)
    assert capfd.readouterr().out == ""


# forms without end


def doubled(levels=60, kind=list):
    value = kind([1])
    for _ in range(levels):
        value = kind([value, value])
    return value


def test_short_writings():
    assert len(shown(doubled())) < 200
    assert len(shown(doubled(kind=tuple))) < 200
    assert len(shown(10**600)) < 200
    assert len(shown({"a" * 10**6: "b" * 10**6})) < 400


def save(path, value, **more):
    torch.save(value, path, **more)
    return path


@pytest.mark.timeout(100)
@pytest.mark.parametrize("where", ["dataset", "acc", "topol", "f_emb", "n_params"])
def test_published_networks_without_end(where, tmp_path):
    rows = {"dataset": ["a"], "acc": [0.5], "topol": [[3] * 45], "f_emb": [torch.zeros(1536)], "n_params": [10]}
    path = save(tmp_path / "p_mod_zoo.pt", {**rows, where: [doubled()]})
    started = time.monotonic()
    with pytest.raises(ZooError) as caught:
        read_networks(path)
    assert time.monotonic() - started < 10
    assert len(str(caught.value)) < 500


@pytest.mark.timeout(100)
def test_keys_of_nested_tuples(tmp_path, monkeypatch):
    """To hash such a key takes 2^60 steps, and unpickling it does so."""
    from nns import rehearsal

    monkeypatch.setattr(rehearsal.rehearse, "__defaults__", (2.0, rehearsal.MEMORY))
    path = tmp_path / "keys.pt"
    write_endless_keys(path)
    with pytest.raises(ZooError, match="no published file"):
        rehearsed(lambda: read_networks(path), path)
    with pytest.raises(UsageError, match="reading it takes more than"):
        read_state(path)


def write_endless_keys(path):
    """Write a tuple of tuples of tuples, and so on, as a key: by hand, since to save it has no end either."""
    data = b"\x80\x02](K\x01\x85q\x01"
    for level in range(2, 62):
        data += b"h" + bytes([level - 1]) + b"h" + bytes([level - 1]) + b"\x86q" + bytes([level])
    data += b"}(h=K\x01ue."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "little")


@pytest.mark.timeout(100)
def test_a_state_that_contains_itself(tmp_path):
    state = {}
    state["state_dict"] = state
    state["model"] = {"state_dict": state}
    with pytest.raises(UsageError, match="holds no state dict"):
        read_state(save(tmp_path / "self.pt", state))


@pytest.mark.timeout(100)
def test_tensors_that_are_views_of_one_number(tmp_path):
    path = save(tmp_path / "net.pt", {"w": torch.zeros(1).expand(3 * 10**9)})
    assert path.stat().st_size < 10_000
    with pytest.raises(UsageError, match="times the bytes of the file"):
        read_state(path)
    shared = torch.zeros(1000)
    assert read_state(save(tmp_path / "tied.pt", {"a": shared, "b": shared})).keys() == {"a", "b"}


def test_names_that_are_none(tmp_path):
    for key in (doubled(20, tuple), 10**600, ("a", 1)):
        with pytest.raises(UsageError) as caught:
            read_state(save(tmp_path / "net.pt", {key: torch.zeros(2)}))
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", ["sparse", "quantised"])
def test_no_plain_tensors(kind, tmp_path):
    plain = torch.eye(3)
    tensor = plain.to_sparse() if kind == "sparse" else torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8)
    with pytest.raises(UsageError):
        read_state(save(tmp_path / "net.pt", {"w": tensor}))


# flipped bits


def test_every_flipped_bit_of_the_numbers_is_found(tmp_path):
    path = save(tmp_path / "net.pt", {"w": torch.randn(100)})
    good = path.read_bytes()
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        place = next(m for m in archive.infolist() if m.filename.endswith("data/0"))
    start = good.index(torch.load(path)["w"].numpy().tobytes())
    assert place.file_size == 400
    for at in range(0, 400, 13):
        path.write_bytes(good[: start + at] + bytes([good[start + at] ^ 4]) + good[start + at + 1 :])
        with pytest.raises(ArchiveError, match="another checksum"):
            check_archive(path)
        with pytest.raises(UsageError, match="another checksum"):
            read_state(path)


def test_compressed_archives_and_bombs(tmp_path):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(50_000_000))
    with pytest.raises(UsageError, match="is compressed"):
        read_state(path)


def test_the_legacy_format_is_read(tmp_path):
    path = save(tmp_path / "old.pth", {"w": torch.arange(5.0)}, _use_new_zipfile_serialization=False)
    assert torch.equal(read_state(path)["w"], torch.arange(5.0))
    path.write_bytes(pickle.dumps(doubled(40, tuple)))
    with pytest.raises(UsageError):
        read_state(path)


# recipes


@pytest.mark.timeout(60)
def test_a_recipe_of_dots(tmp_path):
    path = tmp_path / "recipe.toml"
    for text in ("a" + ".a" * 40_000 + " = 1\n", "\n".join("a." * 200 + f"b{n} = 1" for n in range(150))):
        path.write_text(text)
        started = time.monotonic()
        with pytest.raises(UsageError):
            read_build_file(path)
        assert time.monotonic() - started < 30
