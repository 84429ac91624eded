from __future__ import annotations

import json

import pytest
import timm
import torch
from nns_folder import FOLDER, FolderBackend, checkpoints
from safetensors.torch import save_file

from nns import Zoo
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.plugins import ArchitectureSpec, load_plugins
from nns.testing import BackendContract, tiny_image_folder

HEAD = "file,backend,architecture,classes,data,image_size,mean,std,license,accuracy\n"
BIRDS = "birds.safetensors,timm,lcnet_035,names.txt,birds,48,0.5 0.5 0.5,0.25 0.25 0.25,MIT,0.9\n"
TILES = "old/tiles.pth,timm,lcnet_050,names.txt,tiles,,,,,\n"


@pytest.fixture
def folder(tmp_path, monkeypatch, user):
    """A folder of two checkpoints."""
    share = tmp_path / "share"
    (share / "old").mkdir(parents=True)
    (share / "names.txt").write_text("owl\nwren\n")
    birds = timm.create_model("lcnet_035", num_classes=2).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in birds.items()}, share / "birds.safetensors")
    torch.save({"state_dict": timm.create_model("lcnet_050", num_classes=2).state_dict()}, share / "old" / "tiles.pth")
    (share / "networks.csv").write_text(HEAD + BIRDS + TILES)
    monkeypatch.setenv(FOLDER, str(share))
    return share


class TestFolderBackend(BackendContract):
    pattern = "birds"

    @pytest.fixture
    def backend(self, folder):
        return FolderBackend()


def test_it_is_found_by_its_entry_point():
    assert isinstance(load_plugins().backend("folder"), FolderBackend)


def test_without_a_folder_it_offers_nothing(monkeypatch):
    monkeypatch.delenv(FOLDER, raising=False)
    assert FolderBackend().pretrained() == []
    with pytest.raises(UnknownNameError, match=FOLDER):
        FolderBackend().offers()


def test_what_the_table_says(folder):
    birds, tiles = FolderBackend().pretrained()
    assert (birds.spec.name, birds.classes, birds.dataset, birds.accuracy) == ("birds", ("owl", "wren"), "birds", 0.9)
    assert (tiles.spec.name, tiles.dataset) == ("old-tiles", "tiles")
    assert birds.weights.bytes == (folder / "birds.safetensors").stat().st_size
    backend = FolderBackend()
    assert (backend.license(birds.spec), backend.license(tiles.spec)) == ("MIT", "NOASSERTION")
    assert backend.preprocessing(birds.spec).mean == (0.5, 0.5, 0.5)
    assert (backend.preprocessing(birds.spec).size, backend.preprocessing(tiles.spec).size) == (48, 224)


@pytest.mark.parametrize("copy", [False, True], ids=["by reference", "copied"])
def test_from_the_folder_to_a_network(nns, folder, tmp_path, copy):
    zoo = tmp_path / "elsewhere.h5"
    done = nns("zoo", "add", zoo, "--offered", "folder", "--json", *["--copy"] * copy)
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["networks"]) == 2
    assert (f"from the folder {folder}" in done.err) == copy
    with Zoo(zoo) as opened:
        networks = {network.spec.name: network for network in opened.networks()}
        assert networks["birds"].on_disk == copy
        module = networks["birds"].load()
        assert networks["birds"].on_disk
        assert networks["old-tiles"].load(classes=5)(torch.zeros(1, 3, 32, 32)).shape == (1, 5)
    images = torch.randn(1, 3, 48, 48)
    ours = timm.create_model("lcnet_035", num_classes=2, checkpoint_path=str(folder / "birds.safetensors")).eval()
    with torch.inference_mode():
        assert torch.equal(module(images), ours(images))


def test_a_checkpoint_that_changed_is_another_network(nns, folder, tmp_path):
    zoo = tmp_path / "zoo.h5"
    assert nns("zoo", "add", zoo, "--offered", "folder:birds").code == 0
    state = timm.create_model("lcnet_035", num_classes=2).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "birds.safetensors")
    with Zoo(zoo) as opened, pytest.raises(WeightsError, match="sent other bytes"):
        opened.networks()[0].load()
    assert "added 1 of 1" in nns("zoo", "add", zoo, "--offered", "folder:birds").err


def test_a_search_and_a_fine_tuning(nns, folder, tmp_path):
    zoo, data = tmp_path / "zoo.h5", tiny_image_folder(tmp_path / "data")
    assert nns("zoo", "add", zoo, "--offered", "folder").code == 0
    found = nns("search", data, "--zoo", zoo, "--json")
    assert found.code == 0, found.err
    rows = json.loads(found.out)["candidates"]
    assert {row["architecture"] for row in rows} == {"birds", "old-tiles"}
    out = tmp_path / "out"
    done = nns("finetune", data, "--zoo", zoo, "--max-params", "1M", "--epochs", 1, "--try", 1, "-o", out, "--json")
    assert done.code == 0, done.err
    assert nns("predict", out, next(data.rglob("*.png"))).code == 0


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("../birds.safetensors,timm,lcnet_035,names.txt,birds,,,,,\n", "not below"),
        ("/etc/passwd,timm,lcnet_035,names.txt,birds,,,,,\n", "not below"),
        ("birds.safetensors,timm,lcnet_035,,birds,,,,,\n", "needs the column classes"),
        ("birds.safetensors,,lcnet_035,names.txt,birds,,,,,\n", "needs the column backend"),
        (BIRDS + BIRDS, "both 'birds'"),
        ("birds.safetensors,timm,lcnet_035,names.txt,birds,48,0.5,,,\n", "line 2"),
        ("birds.safetensors,timm,lcnet_035,names.txt,birds,-1,,,,\n", "line 2: an image_size of '-1'"),
        ("birds.safetensors,timm,lcnet_035,names.txt,birds,0,,,,\n", "line 2: an image_size of '0'"),
        ("birds.safetensors,timm,lcnet_035,names.txt,birds,1e3,,,,\n", "line 2: an image_size of '1e3'"),
        ("birds.safetensors,timm,lcnet_035,names.txt,birds,,,1 0 1,,\n", "line 2: a std of '1 0 1'"),
        ("birds.safetensors,timm,lcnet_035,nowhere.txt,birds,,,,,\n", "nowhere.txt"),
        ("", "no rows"),
    ],
    ids=lambda value: value[:40],
)
def test_a_table_that_makes_no_sense_says_why(nns, folder, row, why):
    (folder / "networks.csv").write_text(HEAD + row)
    done = nns("architectures", "folder")
    assert done.code == 2
    assert why in done.err
    assert len(done.err.splitlines()) == 1


def test_a_file_that_is_not_there_is_said_and_left_out(folder, caplog):
    (folder / "birds.safetensors").unlink()
    assert list(checkpoints()) == ["old-tiles"]
    assert "birds.safetensors" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        {"backend": "folder", "architecture": "birds"},
        {"backend": "timm", "architecture": "lcnet_*"},
        {"backend": "timm"},
        {"backend": 7, "architecture": "x"},
        {"backend": "nowhere", "architecture": "x"},
    ],
    ids=str,
)
def test_a_zoo_may_say_anything(config):
    with pytest.raises(UsageError):
        FolderBackend().build(ArchitectureSpec("folder", "x", config), 3)


def test_only_what_is_in_a_table_is_fetched(folder, tmp_path):
    (folder / "secret.pth").write_bytes(b"x")
    for name in ("0123/secret.pth", "0123/../../etc/passwd", "birds.safetensors"):
        with pytest.raises(WeightsError, match="in its table"):
            FolderBackend().fetch_weights(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()
