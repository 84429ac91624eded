from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from nns.backends.checkpoint import read_state
from nns.building.checkpoints import NO_LICENSE, Measured, _judge, add_checkpoint
from nns.data.extractors.efficientnet_lite0 import QUERY_DIM
from nns.errors import DatasetError, UnknownNameError, UsageError, ZooError
from nns.networks.fingerprints import GRAPH_DIM, REFERENCE_COUNT, SURPRISE_ROWS
from nns.plugins import load_plugins
from nns.repro.digits import write_digits
from nns.testing._store import sample_dataset, sample_network
from nns.zoo import Zoo, verify

ARCHITECTURE = "lcnet_050"


@pytest.fixture(scope="module")
def registry():
    return load_plugins()


@pytest.fixture(scope="module")
def state(registry):
    timm = registry.backend("timm")
    return timm.build(timm.offers(ARCHITECTURE)[0], 3, seed=5).state_dict()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return str(write_digits("digits:012", tmp_path_factory.mktemp("data")))


@pytest.fixture
def zoo(tmp_path):
    return Zoo(tmp_path / "zoo.h5", must_exist=False)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def add(zoo, tmp_path):
    def run(state, data, **options):
        path = tmp_path / "net.safetensors"
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
        architecture = options.pop("architecture", ARCHITECTURE)
        options.setdefault("image_size", 32)
        return add_checkpoint(zoo, path, options.pop("backend", "timm"), architecture, data, **options)

    return run


def test_dataset_that_can_be_opened(zoo, add, state, digits):
    entry = add(state, digits, license="MIT")
    assert (entry.spec.backend, entry.spec.name, entry.spec.source) == ("timm", ARCHITECTURE, "random")
    assert entry.classes == ("0", "1", "2")
    assert entry.source_dataset == "digits-012"
    assert 0 <= entry.accuracy <= 1
    assert entry.license == "MIT"
    assert entry.preprocessing.size == 32
    (dataset,) = zoo.datasets()
    assert dataset.digest == entry.source_digest
    assert zoo.network(entry.id).entry == entry
    stored = load(zoo.store.weights(entry.id))
    assert stored.keys() == state.keys()
    assert all(torch.equal(stored[name], state[name]) for name in state)
    assert verify(zoo.store) == ()
    assert entry.cost.params(3) == sum(p.numel() for n, p in state.items() if "running" not in n and "num_" not in n)


def test_adding_twice_changes_nothing(zoo, add, state, digits):
    first = add(state, digits)
    digest = zoo.store.digest()
    assert add(state, digits) == first
    assert zoo.store.digest() == digest
    assert first.license == NO_LICENSE
    with pytest.raises(UsageError, match=r"in the zoo already.*MIT"):
        add(state, digits, license="MIT")


def test_name_of_a_dataset_in_the_zoo(zoo, add, state):
    zoo.store.add_dataset(sample_dataset("letters"))
    entry = add(state, "letters")
    assert entry.classes == ("a", "b", "c")
    assert math.isnan(entry.accuracy)
    assert len(zoo.datasets()) == 1


def test_another_dataset_of_the_same_name_gets_a_number(zoo, add, state, digits):
    features = np.zeros((6, QUERY_DIM), np.float32)
    zoo.store.add_dataset(replace(sample_dataset("digits-012"), features=features, extractor=zoo.extractor.name))
    assert add(state, digits).source_dataset == "digits-012-2"


def test_architecture_and_dataset_that_only_a_network_of_the_zoo_knows(zoo, add, registry):
    from nns.backends.ofa.space import sample_spec

    spec = sample_spec(np.random.default_rng(0), 0.5)
    other = sample_network(1)
    sizes = {"graph": GRAPH_DIM, "kernel": (REFERENCE_COUNT,) * 2, "surprise": (SURPRISE_ROWS, REFERENCE_COUNT)}
    shapes = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
    entry = replace(other.entry, spec=spec, source_dataset="imagenet-1k", source_digest="")
    zoo.store.add_network(replace(other, entry=entry, fingerprint=replace(other.fingerprint, **shapes)))
    weights = registry.backend("ofa").build(spec, 3).state_dict()
    added = add(weights, "imagenet-1k", backend="ofa", architecture=spec.name)
    assert added.spec == spec
    assert added.classes == entry.classes
    assert zoo.network(added.id).fingerprint.functional.shape == (added.cost.feature_dim,)


def test_wrong_arguments(add, zoo, state, digits, tmp_path):
    with pytest.raises(UsageError, match="no checkpoint at"):
        add_checkpoint(zoo, tmp_path / "none.pt", "timm", ARCHITECTURE, digits)
    with pytest.raises(UnknownNameError, match="unknown timm architecture 'lcnet_05'"):
        add(state, digits, architecture="lcnet_05")
    with pytest.raises(UnknownNameError, match="is a pattern"):
        add(state, digits, architecture="lcnet_*")
    with pytest.raises(UnknownNameError, match="unknown backend 'timn'"):
        add(state, digits, backend="timn")
    with pytest.raises(UnknownNameError, match="unknown dataset 'birds'"):
        add(state, "birds")
    with pytest.raises(DatasetError):
        add(state, str(tmp_path))
    with pytest.raises(UsageError, match="image size"):
        add(state, digits, image_size=0)


def test_what_does_not_fit(add, zoo, state, digits, tmp_path):
    with pytest.raises(UsageError, match=r"has no tensor 'fc\.weight'"):
        add(state, digits, architecture="resnet18")
    with pytest.raises(UsageError, match="weights do not fit 'lcnet_100'"):
        add(state, digits, architecture="lcnet_100")
    with pytest.raises(UsageError, match="weights do not fit"):
        add({name: tensor for name, tensor in state.items() if name != "conv_stem.weight"}, digits)
    other = str(write_digits("digits:89", tmp_path))
    with pytest.raises(UsageError, match=r"tells 3 classes apart, 'digits-89' has 2"):
        add(state, other)
    assert len(zoo) == 0
    assert zoo.datasets() == ()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_wrapped_state(tmp_path, wrapper, prefix):
    state = {f"{prefix}{name}": torch.ones(2) for name in ("model.weight", "bias")}
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "x.pt")
    assert list(read_state(tmp_path / "x.pt")) == ["model.weight", "bias"]


class Arguments:
    """Something that training scripts leave in checkpoints."""


def test_pickles_are_refused_unless_trusted(tmp_path, caplog):
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "args": Arguments()}, path)
    with pytest.raises(UsageError, match="`trust_pickle`"):
        read_state(path)
    assert list(read_state(path, trust_pickle=True)) == ["weight"]
    assert "whatever code is in it" in caplog.text
    torch.save(torch.nn.Linear(2, 3), path)
    with pytest.raises(UsageError, match="`trust_pickle`"):
        read_state(path)
    assert list(read_state(path, trust_pickle=True)) == ["weight", "bias"]
    path.write_bytes(pickle.dumps(Arguments()))
    with pytest.raises(UsageError, match="`trust_pickle`"):
        read_state(path)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world", b'{"a": 1}', b"PK\x03\x04 cut"])
def test_files_that_are_no_checkpoints(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_state(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [{}, [1, 2], {"weight": 3}, {"state_dict": {"epoch": 1}}])
def test_checkpoints_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UsageError, match="holds no state dict"):
        read_state(tmp_path / "x.pt")


def test_nothing_is_written_before_everything_is_checked(zoo, add, state, digits, tmp_path):
    """Neither by features that the zoo's own cannot be compared with, nor by a network that the zoo refuses."""
    zoo.store.add_dataset(replace(sample_dataset("birds"), extractor="other@64"))
    zoo.store.merge()
    before = zoo.path.read_bytes()
    with pytest.raises(UsageError, match="'other@64', which is not installed"):
        add(state, digits)
    assert zoo.path.read_bytes() == before
    with Zoo(tmp_path / "other.h5", must_exist=False) as other:
        other.store.add_network(sample_network(1))  # whose fingerprints have other shapes
        other.store.merge()
        before = other.path.read_bytes()
        path = tmp_path / "net.safetensors"
        with pytest.raises((UsageError, ZooError)):
            add_checkpoint(other, path, "timm", ARCHITECTURE, digits, image_size=32)
        other.store.refresh()
        assert other.path.read_bytes() == before
        assert other.datasets() == ()
        assert len(other) == 1


def test_guessing_is_told_from_knowing():
    labels = np.array([0, 1, 2] * 10)
    assert _judge(labels, labels, 3) == Measured(1.0, 30, False)
    assert _judge(labels, (labels + 1) % 3, 3).guessing, "the classes in another order"
    assert _judge(labels, np.zeros(30, np.int64), 3).guessing
    mostly = np.array([0] * 27 + [1, 2, 1])
    assert _judge(mostly, np.zeros(30, np.int64), 3) == Measured(0.9, 30, True), "the frequent class is no knowledge"
    assert not _judge(mostly, mostly, 3).guessing


def test_how_good_it_is_is_said_before_anything_is_written(zoo, add, state, digits):
    """The weights are random, so it guesses; what was published is kept, and what was measured said, too."""
    found = []

    def say(measured):
        assert len(zoo) == 0
        found.append(measured)

    entry = add(state, digits, accuracy=0.91, on_measured=say)
    (measured,) = found
    assert entry.accuracy == 0.91
    assert measured.images > 10
    assert measured.guessing
    assert "no better than guessing: check its preprocessing (`mean`, `std`, `image_size`) and the order" in (
        measured.sentence()
    )


def test_classes_in_the_order_of_the_outputs(zoo, add, state, digits, monkeypatch):
    from nns.backends import steps

    monkeypatch.setattr(steps, "predict_classes", lambda module, split, preprocessing: 2 - split.labels)
    found = []
    turned = add(state, digits, classes=("2", "1", "0"), on_measured=found.append)
    assert (turned.classes, turned.accuracy) == (("2", "1", "0"), 1.0)
    assert not found[0].guessing
    with pytest.raises(UsageError, match="`classes` are not those of 'digits-012': '7'"):
        add(state, digits, classes=("0", "1", "7"))


def test_on_the_command_line(zoo, add, state, digits, nns, tmp_path):
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "net.safetensors")
    command = ("zoo", "add", zoo.path, tmp_path / "net.safetensors", "--backend", "timm", "--architecture")
    command = (*command, ARCHITECTURE, "--data", digits, "--image-size", 32)
    ran = nns(*command)
    assert ran.code == 0
    warned, added, undo = ran.err.splitlines()
    assert warned.startswith("warning: ")
    assert "images right, no better than guessing: check its preprocessing (--mean, --std, --image-size)" in warned
    assert "the order of classes (--classes)" in warned
    assert added.startswith("added ")
    assert undo.startswith(f"to take it out again: nns zoo rm {zoo.path} ")
    again = nns(*command)
    assert (again.code, len(again.err.splitlines())) == (0, 1)
    assert again.err.startswith("already there: ")
    assert nns(*command, "--json").json["added"] is False


def test_a_table_of_files_opens_its_data_once_and_says_what_it_measured(zoo, state, digits, nns, tmp_path, monkeypatch):
    from nns.data import Dataset

    opened, original = [], Dataset.of.__func__

    def of(cls, data, *args, **kwargs):
        opened.append(data)
        return original(cls, data, *args, **kwargs)

    monkeypatch.setattr(Dataset, "of", classmethod(of))
    rows = ["file,backend,architecture,data,image_size"]
    for number in range(3):
        turned = {name: tensor.clone() for name, tensor in state.items()}
        turned["classifier.bias"] += number
        save_file(turned, tmp_path / f"{number}.safetensors")
        rows.append(f"{number}.safetensors,timm,{ARCHITECTURE},{digits},32")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    rows.append(f"broken.safetensors,timm,{ARCHITECTURE},{digits},32")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    ran = nns("zoo", "add", zoo.path, "--table", tmp_path / "t.csv", "--json")
    assert ran.code == 0
    assert opened.count(digits) == 1
    assert len(ran.json["networks"]) == 3
    assert [set(each) for each in ran.json["measured"].values()] == [{"accuracy", "images", "guessing"}] * 3
    assert [failure["name"].endswith("broken.safetensors") for failure in ran.json["failures"]] == [True]
    shown = nns("zoo", "add", zoo.path, "--table", tmp_path / "t.csv").err.splitlines()
    assert shown[-1] == "added 0 of 4 networks, 3 already there, 1 failed"
