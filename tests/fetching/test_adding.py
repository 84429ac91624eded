"""``nns zoo add`` of what is elsewhere; ``nns zoo fetch``; ``nns zoo ls --on-disk``."""

import hashlib
import json
from dataclasses import replace

import pytest

from nns import Zoo
from nns.places import FileWeights, HubWeights
from nns.types import NetworkRecord

from .conftest import REPO

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def path(tmp_path):
    return tmp_path / "refs.h5"


def config_of(published, **changes):
    return json.loads(published.repositories[REPO].files["config.json"]) | changes


def test_a_network_of_the_hub(nns, published, path, lite0):
    ran = nns("zoo", "add", path, "--hub", REPO, "--accuracy", "0.748", "--json")
    assert ran.code == 0, ran.err
    assert not published.of_blobs(), "its weights are not fetched"
    with Zoo(path) as zoo:
        network = zoo.networks()[0]
        entry = network.entry
    assert entry.weights == HubWeights(REPO, "model.safetensors", COMMIT, len(lite0), hashlib.sha256(lite0).hexdigest())
    assert (entry.spec.backend, entry.spec.name) == ("timm", "tf_efficientnet_lite0")
    assert (entry.preprocessing.size, entry.preprocessing.mean) == (224, (0.5, 0.5, 0.5))
    assert (len(entry.classes), entry.source_dataset, entry.license) == (1000, "imagenet-1k", "Apache-2.0")
    assert entry.published == {"imagenet": 0.748}
    assert entry.cost.params(1000) == 4_652_008  # as timm counts it
    assert entry.cost.feature_dim == 1280
    assert network.fingerprint is None
    assert ran.json["weights_at"]["repo"] == REPO
    again = nns("zoo", "add", path, "--hub", f"{REPO}@main", "--accuracy", "0.748", "--json")
    assert again.json["id"] == ran.json["id"]
    network.load(classes=3)


def test_what_is_given_goes_first(nns, published, path, tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(f"kind {number}" for number in range(1000)))
    ran = nns(
        "zoo", "add", path, "--hub", f"{REPO}@{COMMIT}", "--data", "my-images", "--license", "MIT", "--image-size", 192,
        "--mean", "0,0,0", "--std", "1 1 1", "--classes", tmp_path / "classes.txt", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert (ran.json["source_dataset"], ran.json["license"], ran.json["image_size"]) == ("my-images", "MIT", 192)
    assert ran.json["accuracy"] is None
    with Zoo(path) as zoo:
        entry = zoo.networks()[0].entry
    assert (entry.preprocessing.std, entry.classes[7]) == ((1.0, 1.0, 1.0), "kind 7")


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["--hub", "nowhere/nothing"], 7, "Repository"),
        (["--hub", f"{REPO}@v9"], 7, "Revision"),
        (["--hub", "no-slash"], 2, "ORG/NAME"),
        (["--hub", "../../x"], 2, "ORG/NAME"),
        (["--hub", REPO, "--max-params", "1M"], 5, "beyond the limits"),
        (["--hub", REPO, "--accuracy", "75"], 2, "share"),
        (["--hub", REPO, "--mean", "1,2"], 2, "three"),
        (["--hub", REPO, "--table", "x.csv"], 2, "give one of"),
        ([], 2, "give one of"),
        (["x.pth", "--backend", "timm"], 2, "--architecture"),
        (["--hub-author", "nobody"], 7, "lists no"),
    ],
    ids=str,
)
def test_refused(nns, published, path, arguments, code, why):
    ran = nns("zoo", "add", path, *arguments)
    assert ran.code == code, ran.err
    assert why in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not path.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "os.system"},
        {"architecture": 7},
        {"architecture": "hf-hub:evil/net"},
        {"num_classes": 10**9},
        {"num_classes": "many"},
        {"model_args": {"img_size": 512}},
        {"pretrained_cfg": []},
        {"pretrained_cfg": {"input_size": [3, 10**6, 10**6], "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"pretrained_cfg": {"input_size": [3, 64, 32], "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0, 0], "std": [1, 1, 1]}},
        {"pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0, 0, "x"], "std": [1, 1, 1]}},
    ],
    ids=str,
)
def test_a_config_that_anybody_wrote(nns, published, path, changes):
    published.repositories[REPO].files["config.json"] = json.dumps(config_of(published, **changes)).encode()
    ran = nns("zoo", "add", path, "--hub", REPO)
    assert ran.code == 2, ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_the_licence_of_the_card(nns, published, path):
    config = config_of(published)
    del config["pretrained_cfg"]["license"]
    published.repositories[REPO].files["config.json"] = json.dumps(config).encode()
    assert nns("zoo", "add", path, "--hub", REPO, "--json").json["license"] == "Apache-2.0"


def test_a_file_beside_the_zoo(nns, path, tmp_path, lite0, user):
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "lite0.safetensors").write_bytes(lite0)
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(1000))))
    arguments = ["--backend", "timm", "--architecture", "tf_efficientnet_lite0", "--data", "imagenet-1k"]
    arguments += ["--classes", tmp_path / "classes.txt", "--json"]
    ran = nns("zoo", "add", path, "--reference", tmp_path / "nets" / "lite0.safetensors", *arguments)
    assert ran.code == 0, ran.err
    with Zoo(path) as zoo:
        network = zoo.networks()[0]
        assert network.entry.weights == FileWeights(
            "nets/lite0.safetensors", len(lite0), hashlib.sha256(lite0).hexdigest()
        )
        assert zoo.store.weights(network.id) == b""
        assert network.fingerprint is not None
        network.load(classes=2)
    assert path.stat().st_size < 500_000
    (tmp_path / "sub").mkdir()
    merged = tmp_path / "sub" / "all.h5"
    ran = nns("zoo", "merge", merged, path)
    assert ran.code == 2
    assert "nets/lite0.safetensors" in ran.err
    assert not merged.exists()
    (tmp_path / "sub" / "nets").mkdir()  # and what the message says works
    (tmp_path / "sub" / "nets" / "lite0.safetensors").write_bytes(lite0)
    assert nns("zoo", "merge", merged, path).code == 0
    with Zoo(merged) as zoo:
        zoo.networks()[0].load(classes=2)
    assert nns("zoo", "merge", tmp_path / "all.h5", path).code == 0
    ran = nns(
        "zoo", "add", tmp_path / "sub" / "zoo.h5", tmp_path / "nets" / "lite0.safetensors", "--reference", *arguments
    )
    assert ran.code == 2
    assert "nor below it" in ran.err


def test_many_at_once(nns, published, path, tmp_path, lite0):
    for number in range(3):
        published.repositories[f"timm/copy{number}"] = replace(published.repositories[REPO])
    (tmp_path / "lite0.safetensors").write_bytes(lite0)
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(1000))))
    rows = [
        "hub,file,backend,architecture,data,classes,accuracy,mean,license",
        *(f"timm/copy{number},,,,,,0.{number}1,0.4 0.4 0.4," for number in range(3)),
        "timm/missing,,,,,,,,",
        ",lite0.safetensors,timm,tf_efficientnet_lite0,imagenet-1k,classes.txt,0.748,,MIT",
        ",none.safetensors,timm,tf_efficientnet_lite0,imagenet-1k,classes.txt,,,",
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    ran = nns("zoo", "add", path, "--table", tmp_path / "table.csv", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["asked"], len(ran.json["networks"])) == (6, 4)
    assert [each["name"] for each in ran.json["failures"]] == ["timm/missing", str(tmp_path / "none.safetensors")]
    with Zoo(path) as zoo:
        assert sorted(network.entry.accuracy for network in zoo.networks()) == [0.01, 0.11, 0.21, 0.748]
    shown = nns("zoo", "add", path, "--table", tmp_path / "table.csv")
    assert "added 0 of 6 networks, 4 already there, 2 failed" in shown.err
    assert "not added: timm/missing: " in shown.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no rows"),
        ("hub\n", "no rows"),
        ("hub,colour\na/b,red\n", "colour"),
        ("hub,file\na/b,c\n", "either"),
        ("hub,license\n,MIT\n", "either"),
        ("hub,accuracy\na/b,75\n", "line 2"),
        ("hub,mean\na/b,1 2\n", "line 2"),
        ("hub,classes\na/b,none.txt\n", "none.txt"),
    ],
    ids=str,
)
def test_a_table_that_makes_no_sense(nns, path, tmp_path, user, text, why):
    (tmp_path / "table.csv").write_text(text)
    ran = nns("zoo", "add", path, "--table", tmp_path / "table.csv")
    assert ran.code == 2
    assert why in ran.err


def test_an_organisation_within_limits(nns, published, path):
    other = published.repositories[REPO]
    published.repositories["timm/nc"] = replace(other, info=other.info)
    config = config_of(published)
    config["pretrained_cfg"]["license"] = "cc-by-nc-4.0"
    published.repositories["timm/nc"].files = {**other.files, "config.json": json.dumps(config).encode()}
    published.repositories["else/net"] = replace(other)
    ran = nns("zoo", "add", path, "--hub-author", "timm", "--max-params", "5M", "--license", "Apache-2.0", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["asked"], len(ran.json["networks"]), ran.json["beyond"]) == (2, 1, ["timm/nc"])
    listed = next(each for each in published.asked if each.path.startswith("/api/models?"))
    assert "author=timm" in listed.path
    assert "image-classification" in listed.path
    ran = nns("zoo", "add", path, "--hub-author", "timm", "--max-params", "1M")
    assert "added 0 of 2 networks, 2 beyond the limits, 0 failed" in ran.err


def test_fetch_and_pin(nns, published, path, tmp_path, lite0):
    published.repositories["timm/other"] = replace(published.repositories[REPO])
    for repo in (REPO, "timm/other"):
        assert nns("zoo", "add", path, "--hub", repo).code == 0
    with Zoo(path) as zoo:
        # as of a zoo that was made where there was no hub to be asked
        bare = [replace(n.entry, weights=HubWeights(n.entry.weights.repo, "model.safetensors")) for n in zoo.networks()]
        zoo.store.replace_networks([NetworkRecord(entry, None, b"") for entry in bare])
        ids = zoo.store.ids()
        repo = zoo.network(ids[0]).entry.weights.repo
    assert nns("zoo", "ls", path, "--on-disk", "--json").json["total"] == 0
    assert nns("zoo", "fetch", path, "--offline").code == 7
    ran = nns("zoo", "fetch", path, ids[0], "--json")
    assert ran.code == 0, ran.err
    assert ran.json == {"fetched": 1, "on_disk": 1, "pinned": 0, "failures": []}
    assert "1 network with weights outside of the zoo, 1 of them not on this disk" in ran.err
    listed = nns("zoo", "ls", path, "--on-disk", "--json").json
    assert [each["id"] for each in listed["networks"]] == [ids[0]]
    assert listed["networks"][0]["weights"]["on_disk"] is True
    assert "yes" in nns("zoo", "ls", path).out
    ran = nns("zoo", "fetch", path, ids[0], "--pin", "--json")
    assert ran.json == {"fetched": 0, "on_disk": 1, "pinned": 1, "failures": []}
    with Zoo(path) as zoo:
        sha256 = hashlib.sha256(lite0).hexdigest()
        assert zoo.network(ids[0]).entry.weights == HubWeights(repo, "model.safetensors", COMMIT, len(lite0), sha256)
        assert zoo.network(ids[0]).on_disk
        assert zoo.network(ids[0]).fingerprint is not None
        assert zoo.network(ids[1]).fingerprint is None
        assert zoo.store.ids() == ids
    assert nns("zoo", "verify", path).code == 0
    assert nns("zoo", "fetch", path, ids[0], "--pin", "--json").json["pinned"] == 0
    del published.repositories[REPO], published.repositories["timm/other"]
    ran = nns("zoo", "fetch", path, "--json")
    assert ran.code == 7
    assert [each["id"] for each in ran.json["failures"]] == [ids[1]]


def test_limits_of_a_fetch(nns, published, path):
    nns("zoo", "add", path, "--hub", REPO)
    assert nns("zoo", "fetch", path, "--max-params", "1M", "--json").json["fetched"] == 0
    assert nns("zoo", "fetch", path, "--license", "MIT", "--json").json["fetched"] == 0
    assert not published.of_blobs()


def test_hub_offline(nns, published, path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert nns("zoo", "add", path, "--hub", REPO).code == 7
    assert not published.asked
