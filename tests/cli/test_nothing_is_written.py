"""A command that is refused leaves the zoo as it was: every byte of the file, and nothing in its journal folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nns.backends.timm import TimmBackend
from nns.errors import WeightsError
from nns.plugins import load_plugins
from nns.repro.digits import write_digits
from nns.stores import HDF5Store
from nns.testing._store import GRAPH, REFERENCES, SURPRISE, sample_dataset, sample_network, sample_transfer
from nns.types import NetworkRecord

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
    "collect garbage where no zoo is": "zoo gc {folder}/nowhere.h5",
    "collect garbage in a damaged zoo": "zoo gc {folder}/damaged.h5",
    "collect garbage with a damaged journal": "zoo gc {folder}/waiting.h5",
}
SEARCH = "search {folder}/digits --zoo {zoo} --max-latency 10s"
FINETUNE = "finetune {folder}/digits --zoo {zoo} --max-latency 10s --epochs 1 -o {folder}/out"
REFUSED_AT_THE_END = {
    # by a zoo of networks that run, with a fitted space: nothing but what is named is wrong
    "search with a probe but without labels": SEARCH.replace("/digits", "/digits/train/0") + " --probe",
    "search by a space that is not there": SEARCH + " --space mixd",
    "search for a network that small": SEARCH + " --max-params 1",
    "search with an unknown backend": SEARCH + " --backend tmmi",
    "search for a report that cannot be": SEARCH + " --report {folder}",
    "search with images that cannot be read": SEARCH.replace("/digits", "/unreadable"),
    "search where a backend is not installed any more": SEARCH.replace("{zoo}", "{folder}/foreign.h5"),
    "list where a backend is not installed any more": "zoo ls {folder}/foreign.h5 --max-latency 10s",
    "fine-tune where a backend is not installed any more": FINETUNE.replace("{zoo}", "{folder}/foreign.h5"),
    "fine-tune on one class": FINETUNE.replace("/digits", "/digits/train"),
    "fine-tune where images of a class cannot be read": FINETUNE.replace("/digits", "/few"),
    "fine-tune into a folder that is taken": FINETUNE.replace("/out", "/digits"),
    "fine-tune by a recipe that is not there": FINETUNE + " --recipe tnas",
    "fine-tune a network that small": FINETUNE + " --max-params 1",
    "add with images that cannot be read": ZOO_ADD.replace("/digits", "/unreadable"),
    "build on images that cannot be read": BUILD.replace("/digits", "/digits {folder}/unreadable"),
    "fit a method that is not there": "space fit {zoo} --method mixd",
    "remove a network that is not there": "zoo rm {zoo} feedfacefeedface --yes",
    "merge with networks of other fingerprints": "zoo merge {zoo} {folder}/conflict.h5",
    "import into a zoo that is not of TANS": "zoo import-tans {folder}/tans -o {zoo}",
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
    make("waiting.h5", sample_network(1)).put_transfers([sample_transfer(1, "apples")])
    (shard,) = (path for path in (tmp_path / "waiting.h5.journal").iterdir() if path.suffix == ".h5")
    shard.write_bytes(shard.read_bytes()[:-100])
    for name, good in {"unreadable": 0, "few": 2}.items():  # of 6 images each class
        for digit in "01":
            (tmp_path / name / digit).mkdir(parents=True)
            for number, image in enumerate(sorted((tmp_path / "digits" / digit).iterdir())[:6]):
                data = image.read_bytes() if number < good else b"no image"
                (tmp_path / name / digit / image.name).write_bytes(data)
    return tmp_path


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture(scope="module")
def foreign(small_zoo, tmp_path_factory):
    """A zoo whose last network is of a backend that is not installed."""
    path = small_zoo.copy(tmp_path_factory.mktemp("foreign"))
    with HDF5Store(path) as store:
        name = store.ids()[0]
        entry = store.entry(name)
        entry = replace(entry, id="f" * 16, spec=replace(entry.spec, backend="gone"))
        store.add_all([NetworkRecord(entry, store.fingerprint(name), store.weights(name))])
    return path


def below(folder):
    """Everything below a folder but the lock of merges, an empty file that holds nothing of the zoo."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*") if path.name != ".lock"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_that_is_refused_leaves_the_zoo_as_it_was(name, folder, nns):
    done = refused(REFUSED[name], folder / "zoo.h5", folder, nns)
    assert done.code in {2, 3, 4}, done.err
    assert done.err.startswith("error: ")


def refused(command, zoo, folder, nns):
    before = below(folder)
    done = nns(*command.format(zoo=zoo, folder=folder).split())
    assert done.code
    assert below(folder) == before, done.err
    return done


@pytest.mark.parametrize("name", REFUSED_AT_THE_END)
def test_a_command_that_is_refused_at_its_end_leaves_the_zoo_as_it_was(name, folder, nns, small_zoo, foreign):
    shutil.copy(foreign, folder / "foreign.h5")
    shutil.copy(small_zoo.path, folder / "fitted.h5")
    done = refused(REFUSED_AT_THE_END[name], folder / "fitted.h5", folder, nns)
    assert done.code in {2, 3, 4, 5}, done.err
    assert "Traceback" not in done.err
    assert "error: " in done.err


@pytest.mark.parametrize("zoo", ["fitted.h5", "new.h5"])
def test_a_build_whose_second_pretrained_network_is_refused_leaves_the_zoo_as_it_was(
    zoo, folder, nns, small_zoo, monkeypatch
):
    shutil.copy(small_zoo.path, folder / "fitted.h5")
    offers = []
    load = TimmBackend.load_pretrained

    def damaged(self, offer):
        offers.append(offer)
        if len(offers) == 2:
            raise WeightsError("the file is damaged")
        return load(self, offer)

    monkeypatch.setattr(TimmBackend, "load_pretrained", damaged)
    done = refused(BUILD + " --image-size 48 --epochs 1 --workers 0", folder / zoo, folder, nns)
    assert (done.code, done.err) == (7, "error: the file is damaged\n")
    assert len(offers) == 2


def test_a_search_that_finds_nothing_fast_enough_keeps_what_it_measured_and_nothing_else(folder, nns, small_zoo):
    """That is an answer: with a limit that is less strict, nothing is measured again."""
    zoo = Path(shutil.copy(small_zoo.path, folder / "fitted.h5"))
    before = nns("zoo", "info", zoo, "--json").json
    done = nns(*SEARCH.replace("10s", "1us").format(zoo=zoo, folder=folder).split(), "--backend", "example")
    assert done.code == 5
    after = nns("zoo", "info", zoo, "--json").json
    assert {key for key in before if after[key] != before[key]} <= {"devices", "bytes", "file_bytes"}
    assert after["devices"] != before["devices"]
