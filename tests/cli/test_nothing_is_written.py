"""A command that is refused leaves the zoo as it was: every byte of the file, and nothing in its journal folder."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nns.plugins import load_plugins
from nns.repro.digits import write_digits
from nns.stores import HDF5Store
from nns.testing._store import GRAPH, REFERENCES, SURPRISE, sample_dataset, sample_network, sample_transfer

ZOO_ADD = "zoo add {zoo} {folder}/net.safetensors --backend timm --architecture lcnet_050 --data {folder}/digits"
BUILD = "zoo build {zoo} --data {folder}/digits --networks 1 --backend timm"
REFUSED = {
    # what `import-tans` makes: networks without graph statistics, datasets of another extractor
    "add a network with another fingerprint": ZOO_ADD,
    "add what is no checkpoint": ZOO_ADD.replace("net.safetensors", "none.safetensors"),
    "add with data of other classes": ZOO_ADD.replace("/digits", "/digits/train"),
    "add with data that is not there": ZOO_ADD.replace("/digits", "/nowhere"),
    "add with an unknown backend": ZOO_ADD.replace("timm", "tmmi"),
    "add with an unknown architecture": ZOO_ADD.replace("lcnet_050", "lcnet_0"),
    "remove a network that is not there": "zoo rm {zoo} 0000000000000001 feedfacefeedface --yes",
    "merge with another network of that id": "zoo merge {zoo} {folder}/conflict.h5",
    "merge with datasets of another extractor": "zoo merge {zoo} {folder}/extractor.h5",
    "merge with networks of other shapes": "zoo merge {zoo} {folder}/shapes.h5",
    "merge with a damaged zoo": "zoo merge {zoo} {folder}/damaged.h5",
    "merge with a zoo that is not there": "zoo merge {zoo} {folder}/nowhere.h5",
    "build networks of other fingerprints": BUILD + " --image-size 32 --epochs 1",
    "build on data that is not there": "zoo build {zoo} --data {folder}/nowhere --networks 1",
    "build with an unknown backend": BUILD.replace("timm", "tmmi"),
    "fit a method that is not there": "space fit {zoo} --method mixd",
    "fit to too little": "space fit {zoo} --method tans",
    "import from a folder without the files": "zoo import-tans {folder}/digits -o {zoo}",
    "search with data that is not there": "search {folder}/nowhere --zoo {zoo} --max-latency 10ms",
    "search without a space": "search {folder}/digits --zoo {zoo} --max-latency 10ms",
    "search for a report that cannot be": "search {folder}/digits --zoo {zoo} --report {folder}",
    "fine-tune without a space": "finetune {folder}/digits --zoo {zoo} --max-latency 10ms",
    "fine-tune what is not there": "finetune {folder}/digits --zoo {zoo} --network feedface",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("made")

    def make(name, *networks, **dataset):
        with HDF5Store(tmp_path / name) as store:
            store.add_all([*networks, replace(sample_dataset("birds"), **dataset)])
            return store

    shapes = {"graph": GRAPH + 1, "kernel": (REFERENCES, REFERENCES), "surprise": (SURPRISE, REFERENCES)}
    other = sample_network(5)
    prints = replace(other.fingerprint, **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    zoo = make("zoo.h5", sample_network(1), sample_network(2))
    zoo.put_transfers([sample_transfer(1, "apples")])  # waits in the journal
    make("conflict.h5", sample_network(3), sample_network(1, seed=9))
    make("extractor.h5", sample_network(3), extractor="resnet18", digest="other")
    make("shapes.h5", replace(other, fingerprint=prints))
    make("damaged.h5", sample_network(4))
    data = bytearray((tmp_path / "damaged.h5").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "damaged.h5").write_bytes(data)
    torch.manual_seed(0)
    timm = load_plugins().backend("timm")
    module = timm.build(replace(timm.offers("lcnet_050")[0], source="random"), 3)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, tmp_path / "net.safetensors")
    write_digits("digits:012", tmp_path).rename(tmp_path / "digits")
    return tmp_path


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def below(folder):
    """Everything below a folder but the lock of merges, an empty file that holds nothing of the zoo."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*") if path.name != ".lock"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_that_is_refused_leaves_the_zoo_as_it_was(name, folder, nns):
    before = below(folder)
    done = nns(*REFUSED[name].format(zoo=folder / "zoo.h5", folder=folder).split())
    assert done.code in {2, 3, 4}, done.err
    assert done.err.startswith("error: ")
    assert below(folder) == before
