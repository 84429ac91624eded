from __future__ import annotations

from dataclasses import replace

import pytest

from nns.errors import MissingZooError, UnknownNameError, UsageError, ZooError
from nns.stores import HDF5Store, _codec
from nns.testing._store import sample_dataset, sample_network, sample_space
from nns.types import ArchitectureSpec
from nns.zoo import Problem, Zoo, default_zoo_path, merge_zoos, network_id, verify, verify_path


@pytest.fixture
def zoo(tmp_path):
    zoo = Zoo(tmp_path / "zoo.h5", must_exist=False)
    store = zoo.store
    for number in (0x1A, 0x1B, 0x2C):
        store.add_network(sample_network(number, id=f"{number:x}" + "0" * 14))
    store.add_dataset(sample_dataset("birds"))
    store.put_space(sample_space("default"))
    return zoo


def test_open(tmp_path):
    with pytest.raises(MissingZooError, match="nns zoo build"):
        Zoo(tmp_path / "zoo.h5")
    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        assert len(zoo) == 0
        zoo.store.add_network(sample_network(1))
    with Zoo(tmp_path / "zoo.h5") as zoo:
        assert len(zoo) == 1
        assert zoo.network("0").entry.id == sample_network(1).entry.id


def test_unique_beginning_of_an_id(zoo):
    assert zoo.network("2").entry.id == "2c" + "0" * 14
    assert zoo.network("1b").entry.id == zoo.resolve("1b" + "0" * 14)
    assert zoo.find("1a").id == "1a" + "0" * 14
    with pytest.raises(UnknownNameError, match="may be any of 1a0+, 1b0+; give more"):
        zoo.network("1")
    with pytest.raises(UnknownNameError, match=r"unknown network 'ff'"):
        zoo.network("ff")
    with pytest.raises(UnknownNameError, match=r"did you mean '1a0+'"):
        zoo.network("1a0000000000001")
    with pytest.raises(UnknownNameError):
        zoo.network("")


def test_whole_id_that_begins_another(tmp_path):
    zoo = Zoo(tmp_path / "zoo.h5", must_exist=False)
    for name in ("abc", "abcd"):
        zoo.store.add_network(sample_network(1, id=name))
    assert zoo.network("abc").entry.id == "abc"


def test_info(zoo):
    info = zoo.info()
    assert (info.networks, info.path, info.format_version) == (3, zoo.path, 2)
    assert info.by_backend == {"sample": 3}
    assert info.by_dataset == {"data-0": 2, "data-1": 1}
    assert info.datasets == ("birds",)
    assert info.spaces == ("default",)
    assert info.bytes["weights"] == sum(len(zoo.store.weights(name)) for name in zoo.store.ids())
    assert info.digest == zoo.store.digest()


def test_what_a_merge_brings(zoo, tmp_path):
    target = Zoo(tmp_path / "target.h5", must_exist=False)
    target.store.add_network(sample_network(0x1A, id="1a" + "0" * 14))
    assert [merged.added for merged in merge_zoos(target.path, [zoo.path])] == [2]
    assert [merged.added for merged in merge_zoos(target.path, [zoo.path])] == [0]
    target.store.refresh()
    assert target.store.digest() == zoo.store.digest()
    other = HDF5Store(tmp_path / "other.h5")
    other.add_network(sample_network(9, id="1a" + "0" * 14))
    with pytest.raises(ZooError, match="1a0"):
        merge_zoos(target.path, [other.path])


def test_default_path(monkeypatch):
    monkeypatch.delenv("NNS_ZOO", raising=False)
    assert default_zoo_path() is None
    monkeypatch.setenv("NNS_ZOO", "")
    assert default_zoo_path() is None
    monkeypatch.setenv("NNS_ZOO", "/data/zoo.h5")
    assert str(default_zoo_path()) == "/data/zoo.h5"


def test_network_id():
    spec = ArchitectureSpec("timm", "net", {"b": 1, "a": (2, 3)})
    first = network_id(spec, "digest", 0, {"lr": 0.1})
    assert first == "e82c7dffcb98fc8b"
    assert first == network_id(replace(spec, config={"a": [2, 3], "b": 1}), "digest", 0, {"lr": 0.1, "seconds": 3})
    others = [
        network_id(replace(spec, source="in1k"), "digest", 0, {"lr": 0.1}),
        network_id(spec, "other", 0, {"lr": 0.1}),
        network_id(spec, "digest", 1, {"lr": 0.1}),
        network_id(spec, "digest", 0, {"lr": 0.2}),
    ]
    assert len({first, *others}) == 5


def test_verify(zoo, tmp_path):
    assert verify(zoo.store) == ()
    path = tmp_path / "other.h5"
    store = HDF5Store(path)
    for number in range(3):
        store.add_network(sample_network(number))
    assert verify_path(path) == ()
    store.merge()
    assert verify_path(path) == verify_path(path, quick=True) == ()
    weights = store.weights(store.ids()[1])
    data = bytearray(path.read_bytes())
    data[data.index(weights[-40:]) + 20] ^= 1
    path.write_bytes(data)
    seal, problem = verify_path(path)
    assert seal.id == ""
    assert "seal" in seal.what
    assert problem.id == store.ids()[1]
    assert "sha256" in problem.what
    assert verify_path(path, quick=True) == ()
    path.write_bytes(b"no zoo")
    assert [problem.id for problem in verify_path(path)] == [""]
    with pytest.raises(MissingZooError):
        verify_path(tmp_path / "nothing.h5")


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (b"abc", "no header"),
        (b"\xff" * 16, "no header"),
        (b"\x02" + bytes(7) + b"{}x", "1 bytes of tensors, the header describes 0"),
        (b"\x02" + bytes(7) + b"[]", "not in safetensors"),
        (b'\x10\0\0\0\0\0\0\0{"w":{"dtype":1}}', "not in safetensors"),
    ],
)
def test_verify_looks_into_weights(weights, what, tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(replace(sample_network(1), weights=weights))
    (problem,) = verify(store)
    assert isinstance(problem, Problem)
    assert what in problem.what


def test_verify_names_what_cannot_be_right(tmp_path, monkeypatch):
    """No writer lets it in, so it is written by one that does."""
    store = HDF5Store(tmp_path / "zoo.h5")
    with pytest.raises(UsageError, match=r"accuracy 1\.5 is not between 0 and 1"):
        store.add_network(sample_network(1, accuracy=1.5))
    with monkeypatch.context() as lenient:
        lenient.setattr(_codec, "share", float)
        store.add_network(sample_network(1, accuracy=1.5))
    store = HDF5Store(tmp_path / "zoo.h5")
    assert "accuracy 1.5" in verify(store)[0].what


def test_one_extractor_for_each_zoo(zoo):
    assert zoo.extractor is zoo.extractor
