"""Weights on a hub, at an address, in a file beside the zoo: fetched, checked, kept, and read."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import pytest

from nns import Zoo
from nns.errors import WeightsError
from nns.networks.pins import pins_path, read_pins
from nns.networks.weights import describe_file
from nns.places import AddressWeights, BackendWeights, FileWeights, HubWeights
from nns.types import NetworkRecord
from nns.zoo import verify

from .conftest import REPO, entry_of

COMMIT = "c0ffee" + "0" * 34


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def whole(lite0):
    """What a zoo may know of the file."""
    return HubWeights(REPO, "model.safetensors", COMMIT, len(lite0), sha256(lite0))


@pytest.fixture
def bare():
    """What a zoo knows at least."""
    return HubWeights(REPO, "model.safetensors")


def test_a_network_of_the_hub_is_fetched_once_and_loaded(published, zoo_of, whole, lite0):
    import torch

    network = zoo_of(whole).networks()[0]
    assert not network.on_disk
    assert network.place.to_dict() == {
        "where": f"hub:{REPO}@{COMMIT}/model.safetensors",
        "bytes": len(lite0),
        "on_disk": False,
    }
    assert network.place.host == f"127.0.0.1:{published.port}"
    assert not published.asked, "to say what would be fetched nothing connects"
    seen = []
    network.fetch(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(lite0), len(lite0))
    assert network.on_disk
    assert len(published.of_blobs()) == 1
    before = len(published.asked)
    module = network.load()
    assert len(published.asked) == before
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)
        assert network.load(classes=7)(torch.zeros(1, 3, 224, 224)).shape == (1, 7)
    direct = network.backend.load_pretrained(next(iter(network.backend.pretrained())))
    for name, tensor in direct.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name]), name
    assert not pins_path().exists(), "the zoo says all there is to know"


def test_what_nobody_knew_is_learned_shown_kept_and_required(published, zoo_of, bare, lite0):
    network, told = zoo_of(bare).networks()[0], []
    assert network.place.bytes is None
    network.fetch(tell=told.append)
    assert sha256(lite0) in told[0]
    assert COMMIT in told[0]
    assert str(pins_path()) in told[0]
    pin = next(iter(read_pins().values()))
    assert (pin.bytes, pin.sha256, pin.revision) == (len(lite0), sha256(lite0), COMMIT)
    assert network.place.bytes == len(lite0)
    network.load()
    # the repository changes, and the cache is gone: what comes now is not what was fetched first
    published.repositories[REPO] = replace(
        published.repositories[REPO], files={"model.safetensors": lite0[:-4] + b"\0\0\0\1"}, commit="d" * 40
    )
    for path in sorted((pins_path().parents[2] / "hf").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(WeightsError, match="Revision"):  # it asks for the commit of the first fetch
        network.load()


def test_load_fetches(published, zoo_of, bare, caplog):
    zoo_of(bare).networks()[0].load()
    assert f"from 127.0.0.1:{published.port}" in caplog.text


@pytest.mark.parametrize("offline", ["zoo", "environment"])
def test_offline(published, zoo_of, bare, monkeypatch, offline):
    from huggingface_hub import constants

    zoo = zoo_of(bare)
    if offline == "zoo":
        zoo.offline = True
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network = zoo.networks()[0]
    with pytest.raises(WeightsError, match="offline") as refused:
        network.load()
    assert refused.value.exit_code == 7
    with pytest.raises(WeightsError, match="offline"):
        network.fetch()
    assert not published.asked


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_cut_off_and_gone_on_with(published, zoo_of, whole, bare, known, lite0):
    published.cut = [1_000_000, 3_000_000]
    network = zoo_of(whole if known else bare).networks()[0]
    network.fetch()
    ranges = [each.headers.get("range") for each in published.of_blobs()]
    assert ranges[0] is None
    assert all(each.startswith("bytes=") for each in ranges[1:])
    assert len(ranges) == 3
    assert network.on_disk
    network.load()


def test_interrupted_and_gone_on_with_by_the_next_process(published, zoo_of, whole, lite0):
    network = zoo_of(whole).networks()[0]

    def interrupt(done, total):
        if done > 2_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network.fetch(interrupt)
    assert not network.on_disk
    network.fetch()
    _, second = published.of_blobs()
    assert int(second.headers["range"].removeprefix("bytes=").rstrip("-")) > 2_000_000
    network.load()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_wrong_bytes_are_not_kept(published, zoo_of, whole, bare, known):
    published.wrong = True
    network = zoo_of(whole if known else bare).networks()[0]
    with pytest.raises(WeightsError, match="other bytes") as refused:
        network.load()
    assert refused.value.exit_code == 7
    assert not network.on_disk
    assert not pins_path().exists()
    published.wrong = False
    network.load()


def test_another_file_than_the_zoo_means_is_not_even_fetched(published, zoo_of, whole):
    for wrong in ({"sha256": "0" * 64}, {"bytes": 5}):
        network = zoo_of(replace(whole, **wrong), id=next(iter(wrong))).network(next(iter(wrong)))
        with pytest.raises(WeightsError, match="is not the file that is meant"):
            network.load()
    assert not published.of_blobs()


def test_more_than_was_announced(published, zoo_of, whole):
    published.more = 100_000
    with pytest.raises(WeightsError, match="more than the|Consistency"):
        zoo_of(whole).networks()[0].load()


def test_slow(published, zoo_of, whole):
    published.delay = 0.01
    (network,) = zoo_of(whole).networks()
    network.load()
    assert network.on_disk


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (HubWeights("no/where", "model.safetensors"), "Repository"),
        (HubWeights(REPO, "none.safetensors"), "Entry"),
        (HubWeights(REPO, "model.safetensors", "v9"), "Revision"),
    ],
    ids=["repository", "file", "revision"],
)
def test_not_there(published, zoo_of, weights, why):
    with pytest.raises(WeightsError, match=why):
        zoo_of(weights).networks()[0].load()


def test_a_token_goes_to_the_hub_and_nowhere_else(published, zoo_of, bare, monkeypatch, lite0):
    published.repositories[REPO].token = "hf_secret"
    network = zoo_of(bare).networks()[0]
    with pytest.raises(WeightsError, match="Gated|restricted"):
        network.load()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    network.load()
    assert all("authorization" not in each.headers for each in published.of_blobs())
    published.asked.clear()
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    published.plain["net.safetensors"] = lite0
    address = AddressWeights(f"{published.endpoint}/plain/net.safetensors")
    zoo_of(address, id="b" * 16).network("b").load()
    assert published.asked
    assert all("authorization" not in each.headers for each in published.asked)


def test_nothing_answers(user, zoo_of, bare, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        with pytest.raises(WeightsError, match="cannot be fetched"):
            zoo_of(bare).networks()[0].load()


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_an_address(hub, zoo_of, lite0, monkeypatch, known):
    hub.plain["net.safetensors"] = lite0
    url = f"{hub.endpoint}/plain/net.safetensors?download=1"
    network = zoo_of(AddressWeights(url, *((len(lite0), sha256(lite0)) if known else ()))).networks()[0]
    with pytest.raises(WeightsError, match="not encrypted"):
        network.load()
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    hub.cut = [500_000]
    network.load()
    assert network.on_disk
    assert [each.headers.get("range") is None for each in hub.of_blobs()] == [True, False]
    assert (url in read_pins()) is not known
    hub.plain.clear()
    network.load()


def test_an_address_of_which_the_beginning_of_the_digest_is_known(hub, zoo_of, lite0, monkeypatch):
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    url = f"{hub.endpoint}/plain/net.safetensors"
    hub.plain["net.safetensors"] = lite0
    zoo_of(AddressWeights(url, None, "0123456789"), id="b" * 16)
    zoo = zoo_of(AddressWeights(url, None, sha256(lite0)[:8]))
    with pytest.raises(WeightsError, match="where 0123456789… is meant"):
        zoo.network("b").load()
    assert not read_pins()
    said = []
    zoo.network("a").fetch(tell=said.append)
    assert sha256(lite0) in said[0]
    assert (read_pins()[url].sha256, read_pins()[url].bytes) == (sha256(lite0), len(lite0))
    assert zoo.network("a").known_weights() == AddressWeights(url, len(lite0), sha256(lite0))
    with pytest.raises(WeightsError, match="where 0123456789… is meant"):  # what was pinned is not what this one means
        zoo.network("b").load()
    path = next(user_cache(hub).rglob("net.safetensors"))
    path.write_bytes(lite0[:-1] + bytes([lite0[-1] ^ 1]))
    with pytest.raises(WeightsError, match=f"where {sha256(lite0)} is meant"):
        zoo.network("a").load()


def user_cache(_hub):
    from platformdirs import user_cache_path

    return user_cache_path("nns", appauthor=False)


def test_an_address_with_other_bytes(hub, zoo_of, lite0, monkeypatch):
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    hub.plain["net.safetensors"] = lite0
    hub.wrong = True
    network = zoo_of(AddressWeights(f"{hub.endpoint}/plain/net.safetensors", len(lite0), sha256(lite0))).networks()[0]
    with pytest.raises(WeightsError, match="other bytes"):
        network.load()
    assert not network.on_disk


def test_an_address_by_a_driver_of_fsspec(user, zoo_of, lite0, monkeypatch):
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Bucket(MemoryFileSystem):
        protocol = "s3"
        store: ClassVar = {}

    fsspec.register_implementation("s3", Bucket, clobber=True)
    try:
        with fsspec.open("s3://bucket/net.safetensors", "wb") as file:
            file.write(lite0)
        network = zoo_of(AddressWeights("s3://bucket/net.safetensors", None, sha256(lite0))).networks()[0]
        network.load()
        assert network.on_disk
    finally:
        fsspec.register_implementation("s3", "s3fs.S3FileSystem", clobber=True)


def test_a_driver_that_is_not_installed(user, zoo_of):
    with pytest.raises(WeightsError, match="s3fs|gcsfs|install"):
        zoo_of(AddressWeights("gs://bucket/net.safetensors")).networks()[0].load()


def test_a_file_beside_the_zoo(user, tmp_path, zoo_of, lite0):
    (tmp_path / "nets").mkdir()
    path = tmp_path / "nets" / "lite0.safetensors"
    path.write_bytes(lite0)
    weights = describe_file(path, tmp_path / "zoo.h5")
    assert weights == FileWeights("nets/lite0.safetensors", len(lite0), sha256(lite0))
    zoo = zoo_of(weights)
    network = zoo.networks()[0]
    assert network.on_disk
    network.load()
    assert not verify(zoo.store)
    path.write_bytes(lite0[:-1] + b"\1")
    with pytest.raises(WeightsError, match="sha256"):
        network.load()
    assert "sha256" in verify(zoo.store)[0].what
    path.unlink()
    assert not network.on_disk
    with pytest.raises(WeightsError, match="is not there"):
        network.load()


def test_a_link_that_leads_out_of_the_zoos_folder(user, tmp_path, lite0):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "net.safetensors").write_bytes(lite0)
    (folder / "net.safetensors").symlink_to(outside / "net.safetensors")
    (folder / "deep").symlink_to(outside)
    for number, path in enumerate(("net.safetensors", "deep/net.safetensors")):
        weights = FileWeights(path, len(lite0), sha256(lite0))
        with Zoo(folder / f"{number}.h5", must_exist=False) as zoo:
            zoo.store.add_all([NetworkRecord(entry_of(weights), None, b"")])
            network = zoo.networks()[0]
            assert not network.on_disk
            with pytest.raises(WeightsError, match="leads out of"):
                network.load()


def test_a_pickle_with_code_in_it_is_not_run(user, tmp_path, zoo_of):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "net.pth"
    torch.save({"a": Evil()}, path)
    with pytest.raises(WeightsError, match="more than tensors"):
        zoo_of(describe_file(path, tmp_path / "zoo.h5")).networks()[0].load()
    assert not (tmp_path / "ran").exists()


def test_a_backend_of_weights_of_its_own(user, zoo_of, lite0, monkeypatch):
    from nns.backends.timm import TimmBackend

    def fetch(self, name, target, progress=None):
        assert name == "mine/lite0.safetensors"
        target.write_bytes(lite0)

    zoo = zoo_of(BackendWeights("mine/lite0.safetensors", None, sha256(lite0)))
    network = zoo.networks()[0]
    with pytest.raises(WeightsError, match="has no weights"):
        network.load()
    assert network.place.host == "backend timm", "a search of it goes on"
    monkeypatch.setattr(TimmBackend, "fetch_weights", fetch)
    monkeypatch.setattr(TimmBackend, "weights_host", lambda self, name: "my-bucket")
    assert network.place.host == "my-bucket"
    network.load()
    assert network.on_disk


def test_a_cache_that_somebody_filled(published, zoo_of, bare, whole, tmp_path, user):
    """As on a machine without a connection, with HF_HUB_OFFLINE=1, in a process of its own."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, "model.safetensors")
    zoo_of(bare)
    code = (
        "from nns import Zoo; network = Zoo(r'{}').networks()[0]; assert network.on_disk; network.load(3); print('ok')"
    )
    settings = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(user / "hf")}
    environment = {**os.environ, **settings}
    ran = subprocess.run(
        [sys.executable, "-c", code.format(tmp_path / "zoo.h5")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout == "ok\n", ran.stderr
    pin = next(iter(read_pins().values()))
    assert (pin.sha256, pin.revision) == (whole.sha256, COMMIT)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"bytes": 1, "sha256": "x", "revision": null}}'])
def test_a_damaged_file_of_pins_fails_closed(published, zoo_of, bare, content):
    pins_path().parent.mkdir(parents=True)
    pins_path().write_text(content)
    with pytest.raises(WeightsError, match="damaged"):
        zoo_of(bare).networks()[0].load()
    assert not published.asked


def test_weights_that_timm_converts(user, tmp_path):
    """A file in the layout of those who published it: timm's own filter gives the tensors its names."""
    import timm
    import torch
    from safetensors.torch import save_file

    from nns.backends.timm import TimmBackend
    from nns.types import ArchitectureSpec

    module = timm.create_model("deit_tiny_patch16_224", num_classes=3)
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    # as the first ViTs were published: the projection of patches as a matrix
    weight = state["patch_embed.proj.weight"]
    save_file({**state, "patch_embed.proj.weight": weight.flatten(1).contiguous()}, tmp_path / "vit.safetensors")
    backend, spec = TimmBackend(), ArchitectureSpec("timm", "deit_tiny_patch16_224")
    loaded = backend.load(spec, backend.read_weights(spec, tmp_path / "vit.safetensors"), 3)
    assert torch.equal(loaded.state_dict()["patch_embed.proj.weight"], weight)
    assert json.dumps(list(loaded.state_dict())) == json.dumps(list(state))
