"""The published files of TANS become a zoo; whatever a stranger may have put into them becomes one line."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from nns.backends.ofa import OfaBackend, space, supernet
from nns.data.extractors import RESNET18_EXTRACTOR
from nns.errors import NnsError, UsageError, ZooError
from nns.networks import count_cost
from nns.plugins import load_plugins
from nns.space import Space, SpaceData
from nns.tans import archives, import_tans, layout
from nns.tans.architectures import check_topologies, count_subnets, specs_of
from nns.tans.scanning import RefusedPickle, check_pickle
from nns.testing._store import sample_dataset, sample_network
from nns.zoo import Zoo, verify

DATASETS, NETWORKS, IMAGES, CLASSES = 4, 3, 6, 3


def published_networks(seed=0):
    """What ``p_mod_zoo.pt`` holds: networks of one dataset have like features."""
    rng = np.random.default_rng(seed)
    zoo = {"dataset": [], "acc": [], "topol": [], "f_emb": [], "n_params": []}
    for number in range(DATASETS):
        home = torch.from_numpy(rng.standard_normal(1536).astype(np.float32))
        for _ in range(NETWORKS):
            parts = ((3, 5, 7), 20), ((3, 4, 6), 20), ((2, 3, 4), 5)
            zoo["dataset"].append(f"set_{number}")
            zoo["acc"].append(np.float64(rng.uniform(0.3, 0.9)))
            zoo["topol"].append([value for choice, count in parts for value in rng.choice(choice, count).tolist()])
            zoo["f_emb"].append(home + 0.5 * torch.from_numpy(rng.standard_normal(1536).astype(np.float32)))
            zoo["n_params"].append(int(rng.integers(3_000_000, 7_000_000)))
    return zoo


def published_datasets(seed=0):
    """What ``meta_train.pt`` holds."""
    generator = torch.Generator().manual_seed(seed)

    def images(centre):
        return [centre + 0.5 * torch.randn(512, generator=generator) for _ in range(IMAGES)]

    centres = [torch.randn(512, generator=generator) for _ in range(DATASETS)]
    return {
        f"set_{number}": {
            "x_query_train": images(centre),
            "x_query_test": images(centre),
            "clss": list("abc"),
            "nclss": CLASSES,
        }
        for number, centre in enumerate(centres)
    }


def published_test():
    """What a ``meta_test_*.pt`` holds."""
    return {
        "x_train": torch.zeros(4, 3, 8, 8), "y_train": torch.zeros(4), "x_test": torch.zeros(2, 3, 8, 8),
        "y_test": torch.zeros(2), "query": torch.randn(5, 512), "nclss": 2, "clss": ["a", "b"], "task": "unseen",
    }  # fmt: skip


def write(folder, networks=None, datasets=None, test=None):
    folder.mkdir(exist_ok=True)
    torch.save(published_networks() if networks is None else networks, folder / "p_mod_zoo.pt")
    torch.save(published_datasets() if datasets is None else datasets, folder / "meta_train.pt")
    torch.save(published_test() if test is None else test, folder / "meta_test_unseen.pt")
    return folder


def rewrite(path, change=lambda name, data: data, compression=zipfile.ZIP_STORED, more=()):
    """Write an archive anew, member by member."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, change(name, data))
        for name, data in more:
            archive.writestr(name, data)
    return path


@pytest.fixture(scope="module")
def registry():
    return load_plugins()


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "tans")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return lambda: Zoo(tmp_path_factory.mktemp("zoo") / "zoo.h5", must_exist=False)


@pytest.fixture
def run(empty):
    def run(folder, zoo=None, **options):
        zoo = empty() if zoo is None else zoo  # one without networks is falsy
        return zoo, import_tans(folder, zoo, **options)

    return run


# -- what comes out --------------------------------------------------------------------------------------------------


def test_every_number_of_the_files_is_in_the_zoo(folder, run):
    zoo, done = run(folder)
    networks, datasets = published_networks(), published_datasets()
    assert (done.networks, done.added, done.unmatched) == (12, 12, 0)
    assert (done.datasets, done.test_sets, done.with_weights, done.refused) == (4, 1, 0, ())
    by_params = {entry.cost.params(len(entry.classes)): entry for entry in zoo.store.entries()}
    for row, params in enumerate(networks["n_params"]):
        entry = by_params[params]
        fingerprint = zoo.network(entry.id).fingerprint
        assert fingerprint.topology.tolist() == networks["topol"][row]
        np.testing.assert_array_equal(fingerprint.functional, networks["f_emb"][row].numpy())
        assert fingerprint.graph.size == fingerprint.kernel.size == fingerprint.surprise.size == 0
        assert entry.accuracy == networks["acc"][row]
        assert entry.source_dataset == networks["dataset"][row]
        assert entry.classes == ("a", "b", "c")
        assert zoo.store.weights(entry.id) == b""
    records = {record.name: record for record in zoo.datasets()}
    assert sorted(records) == [*datasets, "unseen"]
    for name, dataset in datasets.items():
        np.testing.assert_array_equal(records[name].features, torch.stack(dataset["x_query_train"]).numpy())
        assert records[name].images == 2 * IMAGES
    assert {record.extractor for record in records.values()} == {RESNET18_EXTRACTOR}
    assert {label for record in records.values() for label in record.labels.tolist()} == {-1}
    assert verify(zoo.store) == ()


def test_networks_are_those_of_their_datasets(folder, run):
    zoo, _ = run(folder)
    data = SpaceData.of(zoo)
    assert data.blocks["topology"].shape == (12, 45)
    assert data.blocks["functional"].shape == (12, 1536)
    names = [data.dataset_names[index] for index in data.dataset_index]
    assert names == [entry.source_dataset for entry in zoo.store.entries()]
    assert set(Counter(names).values()) == {NETWORKS}


def test_a_space_is_fitted_to_it(folder, run, registry):
    zoo, _ = run(folder)
    report = Space.fit(zoo, method="tans", epochs=200).report
    record = zoo.store.space("tans")
    method = registry.make("method", "tans", **record.settings).load_tensors(record.tensors)
    entries = zoo.store.entries()
    for dataset in zoo.datasets()[:DATASETS]:
        nearest = np.argsort(-method.similarity(method.embed_query(dataset.features), record.embeddings))[:NETWORKS]
        assert {entries[i].source_dataset for i in nearest} == {dataset.name}
    assert (report["networks"], report["held_out"]["retrieval"]["datasets"]) == (12, DATASETS)


def test_importing_again_changes_nothing(folder, run):
    zoo, _ = run(folder)
    digest = zoo.store.digest()
    _, again = run(folder, zoo)
    assert (again.networks, again.added) == (12, 0)
    assert zoo.store.digest() == digest


def test_a_row_that_is_there_twice_is_one_network(tmp_path, run):
    networks = published_networks()
    for column in networks.values():
        column.append(column[0])
    networks["f_emb"][-1] = networks["f_emb"][0].clone()
    zoo, done = run(write(tmp_path / "tans", networks))
    assert (len(zoo), done.networks, done.added) == (12, 12, 12)


def test_networks_of_a_dataset_without_features(tmp_path, run):
    datasets = published_datasets()
    del datasets["set_1"]
    zoo, done = run(write(tmp_path / "tans", datasets=datasets))
    assert (done.unmatched, done.datasets) == (NETWORKS, DATASETS - 1)
    lonely = [entry for entry in zoo.store.entries() if entry.source_dataset == "set_1"]
    assert {(entry.source_digest, entry.classes) for entry in lonely} == {("", ())}


def test_classes_that_the_file_does_not_name_are_numbered(tmp_path, run):
    datasets = published_datasets()
    datasets["set_0"] |= {"clss": [7, 9], "nclss": 2}
    datasets["set_1"] |= {"clss": ["only"], "nclss": 3}
    zoo, _ = run(write(tmp_path / "tans", datasets=datasets))
    classes = {record.name: record.classes for record in zoo.datasets()}
    assert (classes["set_0"], classes["set_1"]) == (("7", "9"), ("0", "1", "2"))


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_scalars_of_old_and_new_numpy(module, folder, run):
    def change(name, data):
        return data.replace(b"numpy._core.multiarray", module).replace(b"numpy.core.multiarray", module)

    rewrite(folder / "p_mod_zoo.pt", change)
    zoo, _ = run(folder)
    assert sorted(entry.accuracy for entry in zoo.store.entries()) == sorted(map(float, published_networks()["acc"]))


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.dtype(">f8").type, float])
def test_scalars_of_other_types(kind, tmp_path, run):
    networks = published_networks()
    networks["acc"] = [kind(value) for value in networks["acc"]]
    networks["n_params"] = [np.int64(value) for value in networks["n_params"]]
    zoo, _ = run(write(tmp_path / "tans", networks))
    assert sorted(entry.accuracy for entry in zoo.store.entries()) == sorted(float(value) for value in networks["acc"])


def test_query_features_as_a_list(tmp_path, run):
    test = published_test()
    rows = list(test["query"].clone().unbind())
    zoo, _ = run(write(tmp_path / "tans", test=test | {"query": [row.clone() for row in rows]}))
    (unseen,) = [record for record in zoo.datasets() if record.name == "unseen"]
    np.testing.assert_array_equal(unseen.features, test["query"].numpy())


@pytest.mark.parametrize("record", ["dataset", "network"])
def test_a_zoo_of_other_networks_is_left_alone(record, folder, run, empty):
    zoo = empty()
    if record == "dataset":
        zoo.store.add_dataset(replace(sample_dataset("x"), extractor="efficientnet-lite0@96"))
    else:
        zoo.store.add_network(sample_network(1))
    digest = zoo.store.digest()
    with pytest.raises(UsageError, match="a zoo of its own"):
        run(folder, zoo)
    assert zoo.store.digest() == digest


# -- architectures ---------------------------------------------------------------------------------------------------


def topology_of(spec):
    return np.array([[*spec.config["ks"], *spec.config["e"], *spec.config["d"]]])


@pytest.fixture(scope="module")
def small_supernet():
    return supernet.build_supernet(1.2, CLASSES, 0)


@pytest.mark.parametrize("seed", range(4))
def test_subnets_are_counted_as_they_are(seed, small_supernet):
    backend = OfaBackend()
    spec = space.sample_spec(np.random.default_rng(seed), 1.2)
    module = supernet.cut(small_supernet, spec)
    assert specs_of(topology_of(spec)) == [spec]
    assert count_subnets(topology_of(spec)) == [count_cost(backend, module, backend.preprocessing(spec), CLASSES)]


def test_what_a_subnet_lacks_does_not_count():
    spec = space.sample_spec(np.random.default_rng(9), 1.2)
    zeros = np.array([space.topology_vector(spec)], np.int64)
    assert (zeros == 0).any()
    assert not len(check_topologies(zeros))
    assert specs_of(zeros) == [spec]
    assert count_subnets(zeros) == count_subnets(topology_of(spec))


@pytest.mark.parametrize(("column", "value"), [(0, 4), (0, 0), (20, 5), (20, 0), (40, 1), (44, 5)])
def test_topologies_that_are_none(column, value):
    rows = np.repeat(topology_of(space.largest_spec(1.2)), 3, axis=0)
    rows[1, column] = value
    assert check_topologies(rows).tolist() == [1]


# -- damaged and hostile files ---------------------------------------------------------------------------------------


class Payload:
    """Unpickling it writes the number of the process that did it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"import os; open({str(self.path)!r}, 'w').write(str(os.getpid()))",)


FILES = ["p_mod_zoo.pt", "meta_train.pt", "meta_test_unseen.pt"]


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran"), 2))
    assert (tmp_path / "ran").read_text() == str(os.getpid())


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("where", ["whole", "inside"])
def test_code_in_a_pickle_does_not_run(file, where, folder, run, empty, tmp_path):
    payload = Payload(tmp_path / "ran")
    inside = torch.load(folder / file, weights_only=False)
    torch.save(payload if where == "whole" else inside | {"more": payload}, folder / file)
    zoo = empty()
    with pytest.raises(
        ZooError, match=rf"{file} was refused: its pickle calls for (__builtin__|builtins)\.exec"
    ) as told:
        run(folder, zoo)
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(told.value)
    assert not len(zoo)
    assert not zoo.datasets()


def pickled(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def called(name, *arguments):
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n(".encode() + b"".join(arguments) + b"tR"


PAIR_CALL = b"\x86R"
HOSTILE = {
    "hexadecimal": pickled(b"c_codecs\nencode\n", text("x"), text("hex"), PAIR_CALL),
    "of the result": pickled(b"c_codecs\nencode\n", b"c_codecs\nencode\n", text("x"), text("latin1"), PAIR_CALL),
    "by the memo": pickled(text("hex"), b"q\x01", b"c_codecs\nencode\nq\x02", text("x"), b"h\x01", PAIR_CALL),
    "encoder kept": pickled(
        b"c_codecs\nencode\nq\x02", text("x"), text("latin1"), PAIR_CALL, b"h\x02", text("x"), text("hex"), PAIR_CALL
    ),
    "tuple of the memo": pickled(text("a"), text("b"), b"\x86q\x01", b"c_codecs\nencode\n", text("x"), b"h\x01R"),
    "bytearray": pickled(called("builtins.bytearray", b"J\xff\xff\xff\x7f")),
    "storage": pickled(called("torch.storage.UntypedStorage", b"J\xff\xff\xff\x7f")),
    "sparse": pickled(called("torch._utils._rebuild_sparse_tensor")),
    "new protocol": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.",
    "import by stack": pickled(text("os"), text("system"), b"\x93"),
    "instance": pickled(b"(ios\nsystem\n"),
    "no end": b"\x80\x02N",
    "text beyond the end": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "memo of nothing": pickled(b"h\x07"),
    "empty": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_pickles_that_are_refused(data):
    with pytest.raises(RefusedPickle):
        check_pickle(data)


def test_a_refused_pickle_never_reaches_torch(folder, run, monkeypatch):
    rewrite(folder / "meta_train.pt", lambda name, data: HOSTILE["bytearray"] if name.endswith(".pkl") else data)
    monkeypatch.setattr(torch, "load", lambda *args, **more: pytest.fail("was loaded"))
    with pytest.raises(ZooError, match="calls for builtins.bytearray"):
        run(folder)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_walked_over(data):
    with suppress(RefusedPickle):
        check_pickle(b"\x80\x02" + data)


@given(data=st.data())
def test_damage_anywhere_is_one_line(data, empty, tmp_path_factory):
    """Flip bytes of a file: it is still what it was, or an error that says so."""
    folder = write(tmp_path_factory.mktemp("damage"))
    path = folder / data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    # where the pickle and the table of contents are, since a float may be any
    spots = st.one_of(st.integers(0, min(6000, len(content) - 1)), st.integers(-4000, -1))
    for at in data.draw(st.lists(spots, min_size=1, max_size=8)):
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        import_tans(folder, empty())
    except NnsError as error:
        assert isinstance(error, ZooError)
        assert len(str(error).splitlines()) == 1


def set_row(column, value):
    return lambda zoo: zoo[column].__setitem__(1, value)


ONES = torch.ones(1536)
BAD_NETWORKS = {
    "no dict": (lambda zoo: [zoo], "holds a list where a dict is due"),
    "a column less": (lambda zoo: {k: v for k, v in zoo.items() if k != "acc"}, "has no 'acc'"),
    "no list": (lambda zoo: zoo | {"acc": "abc"}, "'acc' is a str where a list is due"),
    "ragged": (lambda zoo: zoo | {"acc": zoo["acc"][1:]}, "not equally long .*acc 11"),
    "empty": (lambda zoo: {name: [] for name in zoo}, "holds no network"),
    "name": (set_row("dataset", 5), "dataset of row 1 is 5"),
    "name of lines": (set_row("dataset", "a\nb"), "dataset of row 1"),
    "long name": (set_row("dataset", "x" * 201), "dataset of row 1"),
    "accuracy in percent": (set_row("acc", np.float64(71.0)), "acc of row 1 is 71.0, no number from 0 to 1"),
    "accuracy NaN": (set_row("acc", np.float64("nan")), "acc of row 1 is nan"),
    "accuracy as text": (set_row("acc", "0.5"), "acc of row 1 is '0.5'"),
    "accuracy as a tensor": (set_row("acc", torch.tensor(0.5)), "acc of row 1"),
    "accuracy true": (set_row("acc", True), "acc of row 1"),
    "no parameters": (set_row("n_params", 0), "n_params of row 1 is 0"),
    "infinite parameters": (set_row("n_params", float("inf")), "n_params of row 1 is inf"),
    "endless parameters": (set_row("n_params", 1 << 600), "n_params of row 1"),
    "fewer parameters than the head": (set_row("n_params", 4000), "row 1 is 4000, less than a head of 3 classes"),
    "short topology": (set_row("topol", [3] * 44), "topol of row 1 is no list of 45"),
    "topology of floats": (set_row("topol", [3.0] * 45), "topol of row 1 holds something"),
    "topology of huge numbers": (set_row("topol", [1 << 80] * 45), "topol of row 1 holds something"),
    "topology of lists": (set_row("topol", [[3]] * 45), "topol of row 1 holds something"),
    "another topology": (set_row("topol", [4] * 45), "topol of row 1 is no subnet"),
    "narrow features": (set_row("f_emb", torch.ones(1535)), r"row 1 is a torch.float32 \(1535,\)"),
    "deep features": (set_row("f_emb", torch.ones(1, 1536)), r"row 1 is a torch.float32 \(1, 1536\)"),
    "features of doubles": (set_row("f_emb", ONES.double()), "row 1 is a torch.float64"),
    "features of numbers": (set_row("f_emb", [0.5] * 1536), "row 1 is a list"),
    "features NaN": (set_row("f_emb", ONES / 0 * 0), "f_emb: row 1 holds NaN"),
    "features infinite": (set_row("f_emb", ONES / 0), "f_emb: row 1 holds NaN or infinity"),
    "a parameter": (set_row("f_emb", torch.nn.Parameter(ONES)), "row 1 is a"),
    "sparse features": (set_row("f_emb", ONES.to_sparse()), "calls for torch._utils._rebuild_sparse_tensor"),
    "features nowhere": (set_row("f_emb", torch.empty(1536, device="meta")), "calls for torch._utils._rebuild_meta"),
    "one tensor for all": (lambda zoo: zoo | {"f_emb": [ONES[:1].expand(1536)] * 12}, "more numbers than the file"),
}


@pytest.mark.parametrize(("change", "words"), BAD_NETWORKS.values(), ids=BAD_NETWORKS)
def test_bad_networks(change, words, tmp_path, run):
    networks = published_networks()
    changed = change(networks)
    with pytest.raises(ZooError, match=words) as told:
        run(write(tmp_path / "tans", networks if changed is None else changed))
    assert "p_mod_zoo.pt" in str(told.value)
    assert len(str(told.value)) < 400
    assert "\n" not in str(told.value)


ROW = torch.ones(512)
BAD_DATASETS = {
    "empty": ({}, "holds no dataset"),
    "no dict": ([1], "holds a list where a dict is due"),
    "wrong nesting": ({"a": [ROW]}, "'a' holds a list where a dict is due"),
    "number as name": ({5: {}}, "name of a dataset is 5"),
    "no features": ({"x_query_train": []}, "has no query features"),
    "narrow": ({"x_query_train": [torch.ones(511)]}, r"x_query_train: row 0 is a torch.float32 \(511,\)"),
    "tensor": ({"x_query_train": torch.ones(3, 512)}, "x_query_train is a Tensor where a list is due"),
    "NaN to measure with": ({"x_query_test": [ROW, ROW / 0 * 0]}, "x_query_test: row 1 holds NaN"),
    "again and again": ({"x_query_train": [ROW] * 100_000}, "more numbers than the file has bytes"),
    "no classes": ({"nclss": 0}, "nclss is 0"),
    "many classes": ({"nclss": 10**9}, "nclss is 1000000000"),
    "class of lists": ({"clss": [[1]]}, "clss holds something that is no name"),
}


@pytest.mark.parametrize(("change", "words"), BAD_DATASETS.values(), ids=BAD_DATASETS)
def test_bad_datasets(change, words, tmp_path, run):
    datasets = published_datasets()
    if isinstance(change, dict) and change.keys() <= datasets["set_1"].keys() and change:
        datasets["set_1"] |= change
    else:
        datasets = change
    with pytest.raises(ZooError, match=words):
        run(write(tmp_path / "tans", datasets=datasets))


BAD_TESTS = {
    "no query": ({"query": torch.empty(0, 512)}, "has no query features"),
    "flat query": ({"query": torch.ones(512)}, r"row 0 is a torch.float32 \(512,\)"),
    "a view of a little": ({"query": torch.ones(1, 1).expand(1 << 20, 512)}, "more numbers than the file has bytes"),
    "labels of other images": ({"y_train": torch.zeros(3)}, "x_train and y_train are not equally long"),
    "a number of images": ({"x_test": 5}, "x_test is a int"),
    "a name of the training sets": ({"task": "set_1"}, "two datasets are called 'set_1'"),
}


@pytest.mark.parametrize(("change", "words"), BAD_TESTS.values(), ids=BAD_TESTS)
def test_bad_test_sets(change, words, tmp_path, run):
    with pytest.raises(ZooError, match=words):
        run(write(tmp_path / "tans", test=published_test() | change))


def make_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def make_folder(path):
    path.unlink()
    path.mkdir()


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def much_in_little(path):
    rewrite(path, compression=zipfile.ZIP_DEFLATED, more=[("p/data/9999", bytes(50 << 20))])


def claim_a_large_directory(path):
    data = path.read_bytes()
    path.write_bytes(data[:-10] + struct.pack("<I", 0x7FFFFFFF) + data[-6:])


BAD_FILES = {
    "symbolic link": (make_link, "is a symbolic link"),
    "folder": (make_folder, "is a folder"),
    "pipe": (make_fifo, "is something else"),
    "empty": (lambda path: path.write_bytes(b""), "is truncated, or no file that torch.save wrote"),
    "text": (lambda path: path.write_text("PK\x03\x04 no"), "is truncated, or no file"),
    "cut short": (cut_short, "is truncated, or no file"),
    "bare pickle": (lambda path: path.write_bytes(pickle.dumps({})), "is truncated, or no file"),
    "compressed": (much_in_little, "is compressed, which torch.save never does"),
    "pickle twice": (lambda path: rewrite(path, more=[("p/data.pkl", b"N.")]), "two archives in one"),
    "member twice": (lambda path: rewrite(path, more=[(f"{path.stem}/DATA.pkl", b"N.")]), "holds something twice"),
    "other archive": (lambda path: zipfile.ZipFile(path, "w").writestr("a/b", b"c"), "holds no data.pkl|is truncated"),
    "large pickle": (
        lambda path: rewrite(path, lambda n, d: d + bytes(17 << 20) if n.endswith("pkl") else d),
        "16777216",
    ),
    "large directory": (claim_a_large_directory, "table of contents of more than 32 MB"),
    "tensors gone": (
        lambda path: rewrite(path, lambda n, d: b"" if "/data/" in n else d),
        "cannot be read|row 0 is|more numbers than",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("damage", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(damage, words, file, folder, run):
    damage(folder / file)
    with pytest.raises(ZooError, match=words) as told:
        run(folder)
    assert file in str(told.value)
    assert "\n" not in str(told.value)


def test_large_files_are_not_opened(folder, run, monkeypatch):
    monkeypatch.setattr(layout, "MAX_TRAIN", 1000)
    monkeypatch.setattr(archives.zipfile, "ZipFile", lambda *args: pytest.fail("was opened"))
    with pytest.raises(ZooError, match=r"meta_train.pt has \d+ bytes, more than the 1000"):
        run(folder)


@pytest.mark.parametrize("file", FILES[:2])
def test_a_file_that_is_missing(file, folder, run):
    (folder / file).unlink()
    with pytest.raises(UsageError, match=f"no {file} in"):
        run(folder)


def test_test_sets_may_be_missing(folder, run):
    (folder / FILES[2]).unlink()
    assert run(folder)[1].test_sets == 0


def test_no_folder(tmp_path, run):
    with pytest.raises(UsageError, match="no folder at"):
        run(tmp_path / "none")


# -- supernets -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def supernets(tmp_path_factory, small_supernet):
    """Supernets as whole modules and as tensors, with the names of their tensors as the first ofa had them."""
    folder = tmp_path_factory.mktemp("supernets")
    state = {name.replace(".conv.", ".mobile_inverted_conv.", 1) if name.startswith("blocks") else name: tensor
             for name, tensor in small_supernet.state_dict().items()}  # fmt: skip
    torch.save(small_supernet, folder / "module.pt")
    torch.save(state, folder / "tensors.pt")
    return folder


def put(supernets, kind, folder, name="set_1"):
    (folder / "ofa_nets").mkdir(exist_ok=True)
    os.link(supernets / f"{kind}.pt", folder / "ofa_nets" / f"{name}.pt")


def check_cut(zoo, small_supernet):
    """See that the networks of ``set_1`` have the weights that the supernet has for them."""
    for entry in zoo.store.entries():
        if entry.source_dataset != "set_1":
            assert zoo.store.weights(entry.id) == b""
            continue
        expected = supernet.cut(small_supernet, entry.spec).state_dict()
        stored = load(zoo.store.weights(entry.id))
        assert stored.keys() == expected.keys()
        assert all(torch.equal(stored[name], expected[name]) for name in expected)
        module = zoo.network(entry.id).load()
        cost = count_cost(zoo.registry.backend("ofa"), module, entry.preprocessing, CLASSES)
        assert entry.cost == cost
        assert entry.provenance.base == zoo.store.supernets()[0].id
    assert verify(zoo.store) == ()


def test_supernets_of_plain_tensors_need_no_trust(folder, run, supernets, small_supernet):
    put(supernets, "tensors", folder)
    zoo, done = run(folder)
    assert (done.supernets, done.with_weights, done.refused) == (("set_1",), NETWORKS, ())
    check_cut(zoo, small_supernet)


def test_whole_modules_are_left_alone(folder, run, supernets):
    put(supernets, "module", folder)
    zoo, done = run(folder)
    assert (done.supernets, done.with_weights) == ((), 0)
    assert done.refused == (folder / "ofa_nets" / "set_1.pt",)
    assert len(zoo) == 12
    assert not zoo.store.supernets()


def test_whole_modules_that_are_trusted(folder, run, supernets, small_supernet, capfd):
    put(supernets, "module", folder)
    zoo, done = run(folder, trusted=True)
    assert (done.supernets, done.with_weights, done.refused) == (("set_1",), NETWORKS, ())
    check_cut(zoo, small_supernet)
    assert f"warning: unpickling {folder / 'ofa_nets' / 'set_1.pt'}" in capfd.readouterr().err


def test_code_in_a_supernet(folder, run, empty, tmp_path, capfd):
    """Not trusted, it does not run; trusted, it runs, but in another process, after a warning."""
    (folder / "sub").mkdir()
    torch.save(Payload(tmp_path / "ran"), folder / "sub" / "set_0.pt")
    assert run(folder)[1].refused == (folder / "sub" / "set_0.pt",)
    assert not (tmp_path / "ran").exists()
    zoo = empty()
    with pytest.raises(ZooError, match="holds no state dict but a NoneType") as told:
        run(folder, zoo, trusted=True)
    assert "\n" not in str(told.value)
    assert (tmp_path / "ran").read_text() not in ("", str(os.getpid()))
    assert "whatever code is in it runs" in capfd.readouterr().err
    assert not len(zoo)
    assert not zoo.datasets()


def test_a_process_that_dies(folder, run):
    class Dies:
        def __reduce__(self):
            return os._exit, (7,)

    torch.save(Dies(), folder / "set_0.pt")
    with pytest.raises(ZooError, match=r"set_0.pt cannot be unpickled: the process ended with 7"):
        run(folder, trusted=True)


def test_a_head_for_other_classes_is_replaced(folder, run, tmp_path):
    datasets = published_datasets()
    datasets["set_1"] |= {"clss": list("abcde"), "nclss": 5}
    write(folder, datasets=datasets)
    torch.save(supernet.build_supernet(1.2, 2, 0).state_dict(), folder / "set_1.pt")
    zoo, done = run(folder)
    assert done.with_weights == NETWORKS
    (own, *_) = [entry for entry in zoo.store.entries() if entry.source_dataset == "set_1"]
    assert own.provenance.head == "fresh"
    assert zoo.network(own.id).load()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def with_nan(state):
    return state | {"first_conv.conv.weight": state["first_conv.conv.weight"] / 0}


BAD_SUPERNETS = {
    "NaN": (with_nan, "'first_conv.conv.weight' holds NaN"),
    "no head": (lambda state: {k: v for k, v in state.items() if "classifier" not in k}, "has no head of 1536 inputs"),
    "a tensor less": (lambda state: dict(list(state.items())[1:]), "is no supernet .*they lack"),
    "other shapes": (lambda state: state | {"first_conv.conv.weight": torch.ones(8, 3, 3, 3)}, "is no supernet"),
    "no tensors": (lambda state: state | {"x": 1}, "something else than tensors"),
    "a list": (lambda state: [state], "holds a list where a supernet is due"),
}


@pytest.mark.parametrize(("change", "words"), BAD_SUPERNETS.values(), ids=BAD_SUPERNETS)
def test_bad_supernets(change, words, folder, run, small_supernet):
    torch.save(change(dict(small_supernet.state_dict())), folder / "set_2.pt")
    with pytest.raises(ZooError, match=words) as told:
        run(folder)
    assert "set_2.pt" in str(told.value)


def test_two_supernets_of_one_dataset(folder, run, supernets):
    put(supernets, "tensors", folder)
    os.link(supernets / "tensors.pt", folder / "set_1.pt")
    with pytest.raises(ZooError, match="two supernets of 'set_1'"):
        run(folder)


def test_names_of_datasets_lead_nowhere(tmp_path, run):
    """A dataset may be called ``../secret``: files are found by listing, not by asking for that."""
    datasets = published_datasets()
    datasets["../secret"] = datasets.pop("set_0")
    Path(tmp_path / "secret.pt").write_bytes(b"no supernet")
    _, done = run(write(tmp_path / "tans", datasets=datasets))
    assert (done.supernets, done.refused) == ((), ())
