"""``nns zoo add --offered``: what a backend offers trained, at hand or elsewhere."""

import hashlib
from dataclasses import replace

import pytest
import torch
from nns_example import ExampleBackend
from safetensors.torch import save

from nns import Zoo
from nns.building.offers import add_offers, find_offers
from nns.building.preparing import at_hand
from nns.errors import UnknownNameError, WeightsError
from nns.places import AddressWeights, BackendWeights, StoredWeights
from nns.plugins import ArchitectureSpec, PretrainedOffer, installed_plugins
from nns.testing._pretrained import PretrainedContract

CLASSES = ("left", "right", "up")


def spec_of(depth, source):
    return ArchitectureSpec("example", f"plain-w8-d{depth}", {"width": 8, "depth": depth}, source)


class Trained(ExampleBackend):
    """Networks of the example that come trained: one at hand, one at an address, one that the backend fetches."""

    def __init__(self, address=""):
        self.module = ExampleBackend().build(spec_of(4, "random"), 3, seed=4).eval()
        self.file = save(self.module.state_dict())
        self.address = address

    def pretrained(self):
        digest = hashlib.sha256(self.file).hexdigest()
        return [
            PretrainedOffer(spec_of(3, "files"), CLASSES, "arrows", 0.75),
            PretrainedOffer(
                spec_of(4, "web"), CLASSES, "imagenet-1k", 0.5, AddressWeights(self.address, None, digest[:8])
            ),
            PretrainedOffer(spec_of(4, "share"), CLASSES, "arrows", float("nan"), BackendWeights("d4.safetensors")),
        ]

    def load_pretrained(self, offer):
        assert offer.weights is None, "only what is at hand is loaded"
        return ExampleBackend().build(replace(offer.spec, source="random"), 3, seed=3).eval()

    def license(self, spec):
        return "MIT" if spec.source == "share" else "Apache-2.0"

    def weights_host(self, name):
        return "our share"

    def fetch_weights(self, name, target, progress=None):
        assert name == "d4.safetensors"
        target.write_bytes(self.file)


@pytest.fixture
def backend(hub, monkeypatch):
    """The backend, registered as ``example``; its file is served."""
    made = Trained(f"{hub.endpoint}/plain/d4.safetensors")
    hub.plain["d4.safetensors"] = made.file
    monkeypatch.setitem(installed_plugins()._made, "example", made)
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    return made


@pytest.mark.parametrize("copy", [False, True], ids=["by reference", "copied"])
def test_each_is_added_once_and_loads(nns, hub, backend, tmp_path, copy):
    path = tmp_path / "zoo.h5"
    done = nns("zoo", "add", path, "--offered", "example", "--json", *["--copy"] * copy)
    assert done.code == 0, done.err
    assert done.json["failures"] == []
    assert bool(hub.asked) == copy, "nothing is fetched unless it is to be stored"
    assert ("from our share" in done.err) == copy
    with Zoo(path) as zoo:
        found = {network.spec.source: network for network in zoo.networks()}
        web = found["web"].entry
        assert (web.published, web.accuracy) == ({"imagenet": 0.5}, 0.5)
        assert (found["files"].entry.published, found["files"].entry.accuracy) == ({}, 0.75)
        kinds = {source: type(network.entry.weights) for source, network in found.items()}
        stored = dict.fromkeys(kinds, StoredWeights)
        assert kinds == (stored if copy else {**stored, "web": AddressWeights, "share": BackendWeights})
        assert (found["web"].fingerprint is not None) == copy
        assert found["share"].entry.license == "MIT"
        for source in ("web", "share"):
            state = found[source].load().state_dict()
            assert all(torch.equal(state[name], tensor) for name, tensor in backend.module.state_dict().items())
        assert found["files"].load(2) is not None
    again = nns("zoo", "add", path, "--offered", "example:plain-*")
    assert "added 0 of 3 networks, 3 already there" in again.err


def test_the_same_network_as_a_build_adds(backend, tmp_path):
    from nns.zoo import network_id

    with Zoo(tmp_path / "zoo.h5", must_exist=False) as zoo:
        added = add_offers(zoo, find_offers(backend, "*-d3"), image_size=16)
    offer = at_hand(backend)[0]
    assert len(at_hand(backend)) == 1
    built = network_id(offer.spec, offer.dataset, 0, {"image_size": 16, "pretrained": True})
    assert added.entries[0].id == built


def test_limits_and_licences(nns, backend, tmp_path):
    path = tmp_path / "zoo.h5"
    done = nns("zoo", "add", path, "--offered", "example", "--license", "mit", "--max-params", "1M", "--json")
    assert [row["weights_from"] for row in done.json["networks"]] == ["share"]
    assert len(done.json["beyond"]) == 2
    assert "example:plain-w8-d4 (web)" in done.json["beyond"]
    assert nns("zoo", "add", path, "--offered", "example", "--max-params", "10").err.endswith("0 failed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--offered", "nothing"], 2, "unknown backend"),
        (["--offered", "example:x*"], 2, "plain-w8-d3"),
        (["--offered", "ofa"], 2, "offers no networks that come trained"),
        (["--offered", "example", "--mean", "0,0,0"], 2, "--mean is not for --offered"),
        (["--offered", "example", "--data", "x"], 2, "--data is not for --offered"),
        (["--offered", "example", "--hub", "a/b"], 2, "give one of"),
        (["x.pth", "--reference", "--copy", "--backend", "a", "--architecture", "b", "--data", "c"], 2, "not both"),
    ],
    ids=str,
)
def test_refused(nns, backend, tmp_path, arguments, code, why):
    done = nns("zoo", "add", tmp_path / "zoo.h5", *arguments)
    assert done.code == code, done.err
    assert why in done.err


def test_what_cannot_be_had_is_told_and_the_rest_added(nns, hub, backend, tmp_path):
    hub.plain["d4.safetensors"] = backend.file[:-1] + b"\1"
    done = nns("zoo", "add", tmp_path / "zoo.h5", "--offered", "example", "--copy")
    assert done.code == 0
    assert "not added: example:plain-w8-d4 (web): 127.0.0.1" in done.err
    assert "added 2 of 3 networks, 1 failed" in done.err


def test_offers_are_listed_with_their_place(nns, backend):
    done = nns("architectures", "example:plain-w8-d4", "--json")
    rows = {row["source"]: row for row in done.json["architectures"]}
    assert rows["web"]["pretrained"]["weights_at"]["url"] == backend.address
    assert rows["share"]["pretrained"]["weights_at"]["kind"] == "backend"
    assert "50.0%" in nns("architectures", "example:plain-w8-d4").out


def test_the_contract_looks_at_offers_that_are_elsewhere(backend, tmp_path):
    contract, offers = PretrainedContract(), backend.pretrained()
    contract.test_pretrained_elsewhere(backend, offers, tmp_path, spec_of(4, "random"))
    strange = [replace(offers[1], weights=StoredWeights())]
    with pytest.raises(AssertionError):
        contract.test_pretrained_elsewhere(backend, strange, tmp_path, spec_of(4, "random"))
    other = [replace(offers[2], spec=spec_of(5, "share"))]
    backend.weights_host = ExampleBackend().weights_host
    with pytest.raises(WeightsError):
        contract.test_pretrained_elsewhere(backend, other, tmp_path, spec_of(5, "random"))


def test_offers_by_pattern(backend):
    assert len(find_offers(backend, "*-d4")) == 2
    with pytest.raises(UnknownNameError):
        find_offers(backend, "*-d9")


def test_a_table_of_files_copied(nns, user, tmp_path):
    made = Trained()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "net.safetensors").write_bytes(made.file)
    (tmp_path / "far" / "classes.txt").write_text("\n".join(CLASSES))
    row = "net.safetensors,example,plain-w8-d4,arrows,classes.txt"
    (tmp_path / "far" / "t.csv").write_text(f"file,backend,architecture,data,classes\n{row}\n")
    (tmp_path / "here").mkdir()
    table, path = tmp_path / "far" / "t.csv", tmp_path / "here" / "zoo.h5"
    refused = nns("zoo", "add", path, "--table", table)
    assert "nor below it" in refused.err
    done = nns("zoo", "add", path, "--table", table, "--copy")
    assert done.code == 0, done.err
    with Zoo(path) as zoo:
        (network,) = zoo.networks()
        assert network.place.where == "zoo"
        network.load()
