"""``nns zoo`` merge, rm, gc and export: what they write, what they say, and that they fail whole."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest

from nns.stores import HDF5Store
from nns.testing._store import (
    sample_dataset,
    sample_network,
    sample_space,
    sample_subnet,
    sample_supernet,
    sample_transfer,
)
from nns.types import LatencyRecord


def make(path, *networks, merged=True):
    with HDF5Store(path) as store:
        for network in networks:
            store.add_network(network)
        if merged:
            store.merge()
    return path


def files(folder):
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest(nns, path):
    return nns("zoo", "info", path, "--json").json["digest"]


@pytest.fixture
def family(tmp_path):
    """A zoo of two subnets with their supernet, and a third network; a transfer and a latency of each."""
    path = tmp_path / "family.h5"
    with HDF5Store(path) as store:
        store.add_supernet(sample_supernet(1))
        store.add_all([sample_subnet(1, 1), sample_subnet(2, 1), sample_network(3)])
        store.add_dataset(sample_dataset("birds"))
        store.put_space(sample_space("mixed"))
        store.put_transfers([sample_transfer(number, "apples") for number in (1, 2, 3)])
        store.put_latencies([LatencyRecord(f"{number:016x}", "cpu", 0.1) for number in (1, 2, 3)])
        store.merge()
    return path


def test_merge(nns, small_zoo, tmp_path):
    out = tmp_path / "all.h5"
    first = nns("zoo", "merge", out, small_zoo.path, "--json")
    assert (first.code, first.err, first.json["networks"], first.json["added"]) == (0, "", 12, 12)
    assert set(first.json) == {"zoo", "networks", "added", "digest", "supernets", "sources", "conflicts"}
    assert (first.json["supernets"], first.json["conflicts"]) == (3, [])
    assert first.json["digest"] == digest(nns, small_zoo.path)
    again = nns("zoo", "merge", out, small_zoo.path)
    assert (again.code, again.out) == (0, "")
    assert "12 networks, 0 new" in again.err
    assert nns("space", "show", out, "--json").json == {"spaces": []}
    assert "nns space fit" in nns("space", "show", out).err


def test_merge_counts_each_source_and_the_same_network_once(nns, tmp_path):
    one, two, three = (sample_network(number) for number in (1, 2, 3))
    a, b = make(tmp_path / "a.h5", one, two), make(tmp_path / "b.h5", two, three, merged=False)
    found = nns("zoo", "merge", tmp_path / "ab.h5", a, b, "--json").json
    assert found["sources"] == [
        {"zoo": str(a), "networks": 2, "added": 2, "known": 0},
        {"zoo": str(b), "networks": 2, "added": 1, "known": 1},
    ]
    assert (found["networks"], found["added"]) == (3, 3)
    other = nns("zoo", "merge", tmp_path / "ba.h5", b, a)
    assert f"{b}: 2 networks, 2 new, 0 known" in other.err
    assert f"{a}: 2 networks, 1 new, 1 known" in other.err
    assert digest(nns, tmp_path / "ba.h5") == found["digest"]
    assert len(HDF5Store(b).ids()) == 2, "a source changed"


def test_merge_into_one_of_the_sources(nns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.h5", sample_network(1), merged=False)
    b = make(tmp_path / "b.h5", sample_network(2))
    found = nns("zoo", "merge", "a.h5", tmp_path / "a.h5", b, "--json").json
    assert [source["added"] for source in found["sources"]] == [0, 1]
    assert (found["networks"], found["added"]) == (2, 1)
    assert not (tmp_path / "a.h5.journal").exists()
    (tmp_path / "link.h5").hardlink_to(b)
    before = b.read_bytes()
    same = nns("zoo", "merge", tmp_path / "link.h5", b)
    assert (same.code, b.read_bytes()) == (0, before)
    assert f"{b}: 1 network, is the zoo that is written to" in same.err


def test_merge_names_all_conflicts_before_anything_is_written(nns, tmp_path):
    a = make(tmp_path / "a.h5", *(sample_network(number) for number in (1, 2, 3)))
    b = make(tmp_path / "b.h5", sample_network(1, seed=1), sample_network(4))
    c = make(tmp_path / "c.h5", sample_network(2, seed=1), sample_network(3, accuracy=0.5), sample_network(5))
    for path, seed in ((a, 0), (b, 1)):
        with HDF5Store(path) as store:
            store.add_supernet(sample_supernet(1, seed))
            store.merge()
    before = files(tmp_path)
    for out in (tmp_path / "new.h5", a, c):
        done = nns("zoo", "merge", out, a, b, c, "--json")
        assert done.code == 4
        assert len(done.err.splitlines()) == 1
        found = {(each["kind"], each["id"], frozenset(each["zoos"])) for each in done.json["conflicts"]}
        assert found == {
            ("network", f"{1:016x}", frozenset({str(a), str(b)})),
            ("network", f"{2:016x}", frozenset({str(a), str(c)})),
            ("network", f"{3:016x}", frozenset({str(a), str(c)})),
            ("supernet", sample_supernet(1).entry.id, frozenset({str(a), str(b)})),
        }
        for _, name, zoos in found:
            assert name in done.err
            assert all(path in done.err for path in zoos)
        assert files(tmp_path) == before
    assert nns("zoo", "merge", tmp_path / "new.h5", a, b, c).out == ""


def test_a_damaged_source_leaves_the_zoo_as_it_was(nns, tmp_path):
    out = make(tmp_path / "out.h5", sample_network(1))
    good, bad = make(tmp_path / "good.h5", sample_network(2)), make(tmp_path / "bad.h5", sample_network(3))
    weights = HDF5Store(bad).weights(f"{3:016x}")
    data = bytearray(bad.read_bytes())
    data[data.index(weights[-40:]) + 20] ^= 1
    bad.write_bytes(data)
    before = files(tmp_path)
    done = nns("zoo", "merge", out, good, bad, "--json")
    assert (done.code, done.out) == (4, "")
    assert "bad.h5" in done.err
    assert {name: data for name, data in files(tmp_path).items() if not name.endswith(".lock")} == before


def test_rm_by_the_beginnings_of_ids(nns, family):
    supernet = sample_supernet(1).entry.id
    before = family.stat().st_size
    done = nns("zoo", "rm", family, f"{1:016x}", supernet, f"{1:016x}", "--json")
    assert (done.code, done.err) == (0, "")
    assert set(done.json) == {"zoo", "removed", "supernets", "networks", "digest", "bytes_before", "bytes_after"}
    assert done.json["removed"] == [f"{1:016x}", supernet]
    assert (done.json["supernets"], done.json["networks"]) == ([supernet], 2)
    assert (done.json["bytes_before"], done.json["bytes_after"]) == (before, family.stat().st_size)
    with HDF5Store(family) as store:
        assert store.ids() == (f"{2:016x}", f"{3:016x}")
        assert store.weights(f"{2:016x}") == sample_subnet(2, 1).weights
    again = nns("zoo", "rm", family, f"{1:016x}")
    assert (again.code, again.out) == (2, "")


def test_rm_says_what_is_left_over(nns, family):
    done = nns("zoo", "rm", family, f"{1:016x}", f"{2:016x}")
    assert (done.code, done.out) == (0, "")
    assert "removed 2 networks; 1 network left" in done.err
    assert f"left over: supernet {sample_supernet(1).entry.id}, 2 measured latencies, 2 transfers" in done.err
    assert "`nns zoo gc" in done.err
    assert "nns space fit" in done.err


def test_rm_of_a_dataset_takes_its_supernets_too(nns, family):
    assert sample_network(1).entry.source_dataset == sample_supernet(1).entry.source_dataset == "data-1"
    done = nns("zoo", "rm", family, "--dataset", "data-1", "--json")
    assert sorted(done.json["removed"]) == sorted([f"{1:016x}", f"{3:016x}", sample_supernet(1).entry.id])
    assert done.json["networks"] == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "name what to remove"),
        (("zz",), "unknown network 'zz'"),
        (("0",), "may be any of"),
        (("--dataset", "data-2"), "did you mean 'data-"),
        ((f"{3:016x}", "zz"), "unknown network 'zz'"),
    ],
)
def test_rm_of_what_is_not_there_removes_nothing(more, words, nns, family):
    before = files(family.parent)
    done = nns("zoo", "rm", family, *more, "--json")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert files(family.parent) == before


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 130), ("\n", 130), ("", 130)])
def test_rm_asks_on_a_terminal(answer, code, nns, family, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    before = family.read_bytes()
    done = nns("zoo", "rm", family, f"{3:016x}")
    assert done.code == code
    assert f"{3:016x}  sample:net-3, trained on data-1" in done.err
    assert "1 network will be removed" in done.err
    assert "[y/N]" in done.err
    assert (family.read_bytes() == before) == bool(code)


def test_rm_does_not_ask_with_yes(nns, family, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = nns("zoo", "rm", family, f"{3:016x}", "--yes")
    assert (done.code, len(HDF5Store(family).ids())) == (0, 2)
    assert "[y/N]" not in done.err


def test_a_space_ranks_what_is_left(nns, small_zoo, search, tmp_path):
    path = small_zoo.copy(tmp_path)
    ranking = [found["id"] for found in search().json["candidates"]]
    scores = {found["id"]: found["score"] for found in search("--top", 12).json["candidates"]}
    assert nns("zoo", "rm", path, ranking[0], ranking[2]).code == 0
    left = nns("search", small_zoo.query, "--zoo", path, "--top", 12, "--json").json["candidates"]
    assert {found["id"]: found["score"] for found in left} == {
        name: score for name, score in scores.items() if name not in (ranking[0], ranking[2])
    }
    for name in ("digits-012", "digits-345", "digits-67", "imagenet-1k"):
        nns("zoo", "rm", path, "--dataset", name)
    empty = nns("search", small_zoo.query, "--zoo", path, "--json")
    assert (empty.code, empty.out, len(empty.err.splitlines())) == (5, "", 1)


def test_gc(nns, family):
    nns("zoo", "rm", family, f"{1:016x}", f"{2:016x}")
    before = family.read_bytes()
    dry = nns("zoo", "gc", family, "--dry-run", "--json")
    assert (dry.code, family.read_bytes()) == (0, before)
    done = nns("zoo", "gc", family, "--json")
    assert (done.code, done.err) == (0, "")
    keys = {"zoo", "networks", "digest", "supernets", "latencies", "transfers", "files"}
    assert set(done.json) == keys | {"bytes_before", "bytes_after", "dry_run"}
    for document in (dry.json, done.json):
        assert document["supernets"] == [sample_supernet(1).entry.id]
        assert (document["networks"], document["latencies"], document["transfers"]) == (1, 2, 2)
        assert document["bytes_before"] == len(before)
    assert (dry.json["dry_run"], dry.json["bytes_after"]) == (True, None)
    assert (done.json["dry_run"], done.json["bytes_after"]) == (False, family.stat().st_size)
    assert family.stat().st_size < len(before)
    again = nns("zoo", "gc", family)
    assert (again.code, again.out) == (0, "")
    assert "removed nothing" in again.err
    assert nns("zoo", "verify", family).code == 0


def test_the_digest_is_of_content_whatever_happened_to_the_file(nns, family, tmp_path):
    expected = digest(nns, family)
    copy = Path(shutil.copy(family, tmp_path / "copy.h5"))
    assert nns("zoo", "gc", copy, "--json").json["digest"] == expected
    assert nns("zoo", "rm", copy, f"{3:016x}", "--json").json["digest"] != expected
    assert nns("zoo", "merge", copy, family, "--json").json["digest"] == expected


@pytest.mark.parametrize("line", ["gc {}", "rm {} 0", "merge {} {zoo}", "merge new.h5 {}"])
def test_what_is_no_zoo_is_refused_and_left_alone(line, nns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo = make(tmp_path / "zoo.h5", sample_network(1))
    (tmp_path / "text.h5").write_text("no zoo\n" * 100)
    before = files(tmp_path)
    done = nns("zoo", *line.format("text.h5", zoo=zoo).split(), "--json")
    assert (done.code, done.out, len(done.err.splitlines())) == (4, "", 1)
    if line != "merge {} {zoo}":
        missing = nns("zoo", *line.format("nowhere.h5", zoo=zoo).split(), "--json")
        assert (missing.code, missing.out, len(missing.err.splitlines())) == (2, "", 1)
        assert "no zoo at nowhere.h5" in missing.err
    assert files(tmp_path) == before


def test_export_of_a_subnet_that_is_stored_as_slices(nns, small_zoo, tmp_path):
    from safetensors.torch import load, load_file

    subnet = nns("zoo", "ls", small_zoo.path, "--backend", "ofa", "--json").json["networks"][0]["id"]
    assert nns("zoo", "show", small_zoo.path, subnet, "--json").json["kept"]["codecs"]["slice"]
    assert nns("zoo", "export", small_zoo.path, subnet, "-o", tmp_path / "network").code == 0
    written = load_file(tmp_path / "network" / "model.safetensors")
    with HDF5Store(small_zoo.path) as store:
        stored = load(store.weights(subnet))
    assert written.keys() == stored.keys()
    assert all(written[name].equal(stored[name]) for name in stored)
    predicted = nns("predict", tmp_path / "network", small_zoo.image, "--json").json["predictions"]
    assert predicted[0]["label"] in {"0", "1", "2", "3", "4", "5", "6", "7"}
