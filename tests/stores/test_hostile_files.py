"""The hostile files of benchmarks/store/hostile.py: each refused, or shown without harm; none costs much memory."""

from __future__ import annotations

import re
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.stores._frames import split
from nns.testing._store import sample_network
from nns.zoo import verify, verify_path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from store import hostile, making

SLOW = re.compile("as long as may be|1 MiB of empty lists|every network as large")
MEMORY = hostile.BUDGET
"""Bytes that reading one file may add to the most this process has ever held."""
ZOO_COMMANDS = (("ls",), ("info",), ("show", hostile.FIRST), ("show", hostile.FIRST, "--json"), ("verify",))

CASES = [
    pytest.param(name, marks=pytest.mark.slow if SLOW.search(name) else (), id=name)
    for name in hostile.CASES
    if not name.startswith("sparse")  # files of gigabytes want a process of their own
]


@pytest.fixture(scope="module")
def good():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield making.good_zoo(Path(folder) / "good.h5")


@pytest.fixture(autouse=True)
def budget(monkeypatch):
    monkeypatch.setenv("NNS_MAX_WEIGHTS", str(hostile.MAX_WEIGHTS))


def most_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def read(path):
    """Read everything: None, or the sentence with which it was refused; and what verifying finds."""
    try:
        with HDF5Store(path, must_exist=True) as store:
            return refusal_of(lambda: hostile.read_everything(store)), [problem.what for problem in verify(store)]
    except ZooError as error:
        return str(error), [problem.what for problem in verify_path(path)]


def refusal_of(call):
    try:
        call()
    except ZooError as error:
        assert type(error).exit_code == 4
        return str(error)
    return None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", CASES)
def test_reading(name, good, tmp_path):
    case = hostile.CASES[name]
    path = case.make(tmp_path / "zoo.h5", good)
    before = most_memory()
    if case.expect == hostile.REFUSED:  # at the first thing that anybody reads
        refusal, problems = refusal_of(lambda: HDF5Store(path, must_exist=True).ids()), []
    else:
        refusal, problems = read(path)
    assert most_memory() - before < MEMORY
    for sentence in filter(None, [*problems, refusal]):
        assert "\n" not in sentence
        assert len(sentence) < 1000
    if case.expect in (hostile.REFUSED, hostile.FOUND):
        assert refusal is not None
        assert str(path) in refusal
    if case.expect in (hostile.FOUND, hostile.VERIFIED):
        assert problems
    if case.expect in (hostile.SHOWN, hostile.IGNORED):
        assert refusal is None
        assert not problems
    if case.expect == hostile.IGNORED:
        with HDF5Store(path) as store, HDF5Store(good.path) as other:
            assert store.digest() == other.digest()


MERGED = [
    name
    for name in hostile.CASES
    if re.match("id|weights|frame: (one|row|codec [023] (with|from)|3.75|small|fewer)", name)
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", MERGED)
def test_merging_into_a_zoo_of_ones_own(name, good, tmp_path):
    """Weights are copied as they are packed: whatever they are, nothing but a ZooError comes of it."""
    path = hostile.CASES[name].make(tmp_path / "theirs.h5", good)
    mine = HDF5Store(tmp_path / "mine.h5")
    mine.add_network(sample_network(77, accuracy=0.5))
    before = most_memory()
    try:
        mine.absorb(HDF5Store(path))
        mine.merge()
    except ZooError as error:
        assert "\n" not in str(error)
    assert most_memory() - before < MEMORY
    assert mine.weights(sample_network(77).entry.id) == sample_network(77).weights


@pytest.mark.parametrize("name", ["column: external link to a FIFO", "id: escape", "header: a newer version"])
@pytest.mark.parametrize("command", ZOO_COMMANDS, ids=" ".join)
def test_exit_code(name, command, good, tmp_path, nns):
    path = hostile.CASES[name].make(tmp_path / "zoo.h5", good)
    done = nns("zoo", command[0], path, *command[1:])
    assert done.code == 4
    assert "Traceback" not in done.err
    if command != ("verify",):
        assert re.fullmatch(r"error: [^\n]+\n", done.err)


def harmless(text, folded=False):
    """No control character, no newline out of a name; a cell that is ``folded`` may go on in the next line."""
    assert not hostile.RAW_CONTROL.search(text)
    assert not re.search(r"^FORGED", text, re.MULTILINE)
    if not folded:
        assert {before[-2:] for before in re.sub(r"\s", "", text).split("FORGED")[:-1]} <= {r"\n"}


@pytest.mark.parametrize("name", [name for name in hostile.CASES if name.startswith("names")])
def test_names_do_not_reach_the_terminal(name, good, tmp_path, nns):
    path = hostile.CASES[name].make(tmp_path / "zoo.h5", good)
    for command in ZOO_COMMANDS if name == "names: provenance" else ZOO_COMMANDS[:3]:
        done = nns("zoo", command[0], path, *command[1:])
        assert done.code == 0
        harmless(done.out + done.err, folded=command == ("ls",))
    done = nns("space", "show", path)
    assert done.code == 0
    harmless(done.out + done.err)


@pytest.fixture
def no_images(monkeypatch):
    """Searching for features made up here, which needs no torch."""
    from nns.data import Dataset
    from nns.types import DatasetRecord

    features = np.random.default_rng(0).standard_normal((4, making.QUERY_DIM)).astype(np.float32)
    record = DatasetRecord("mine", "digest", ("a", "b"), features, np.array([0, 0, 1, 1]), 4, "lite0")
    monkeypatch.setattr(Dataset, "of", lambda *args, **more: Dataset("mine", "mine", ("a", "b"), ()))
    monkeypatch.setattr(Dataset, "features", lambda *args, **more: record)


@pytest.mark.parametrize(
    "name", [name for name in hostile.CASES if re.match("names|search|numbers: NaN in the e", name)]
)
def test_searching(name, good, tmp_path, nns, no_images):
    path = hostile.CASES[name].make(tmp_path / "zoo.h5", good)
    before = most_memory()
    done = nns("search", "mine", "--zoo", path)
    assert most_memory() - before < MEMORY
    harmless(done.out + done.err, folded=True)
    if done.code:
        assert re.fullmatch(r"error: [^\n]+\n", done.err)
    if name.startswith("names") and name not in ("names: method of a space", "names: settings of a space"):
        assert done.code == 0
        harmless(nns("search", "mine", "--zoo", path, "--json").out)
    if name.startswith("search: tensors"):
        assert done.code == 4


@pytest.mark.parametrize("name", [name for name in hostile.CASES if name.startswith("search")])
def test_showing_spaces(name, good, tmp_path, nns):
    path = hostile.CASES[name].make(tmp_path / "zoo.h5", good)
    done = nns("space", "show", path)
    assert done.code in (0, 4)
    harmless(done.out + done.err)


def test_canaries_are_not_touched(good, tmp_path):
    """External storage holds the very bytes of the column, so only refusing it keeps them from being read."""
    case = hostile.CASES["column: external storage"]
    path = case.make(tmp_path / "zoo.h5", good)
    secret = tmp_path / "canary" / "secret-networks-digest"
    before = secret.stat().st_mtime_ns, secret.read_bytes()
    assert "not contiguous inside the file" in read(path)[0]
    with pytest.raises(ZooError):
        HDF5Store(path).add_network(sample_network(5))
    assert (secret.stat().st_mtime_ns, secret.read_bytes()) == before


def test_a_stranger_cannot_bar_my_networks(good, tmp_path):
    """A zoo whose header says that a network's shard is merged or removed: adding that network works all the same."""
    record = sample_network(99, accuracy=0.5)
    columns, about = good.copy()
    about["merged"] = [f"network-{record.entry.id}.h5", f"network-{record.entry.id}~1.h5", "../../secret", "x"]
    store = HDF5Store(making.write_zoo(tmp_path / "zoo.h5", columns, about))
    store.add_network(record)
    assert record.entry.id in store.ids()
    store.merge()
    assert store.weights(record.entry.id) == record.weights


def test_a_shard_of_another_name_cannot_swallow_my_network(good, tmp_path):
    """What is acknowledged is there, whatever already has the name of its shard."""
    record = sample_network(99, accuracy=0.5)
    path = hostile.CASES["journal: a shard under the name of another"].make(tmp_path / "zoo.h5", good)
    assert f"network-{record.entry.id}.h5" == hostile.SHARD
    store = HDF5Store(path)
    try:
        store.add_network(record)
    except ZooError:
        return
    assert store.weights(record.entry.id) == record.weights


def test_a_stranger_cannot_poison_my_weights(good, tmp_path):
    """Their zoo has frames under the sha256 of mine, with other content; mine is then added to their zoo."""
    record = sample_network(99, accuracy=0.5)
    pieces = [record.weights[piece.start : piece.stop] for piece in split(record.weights)]
    columns, about = good.copy()
    false = [making.Frame(bytes(len(piece)), piece) for piece in pieces]
    making.set_frames(columns, about, good, false, range(len(false)), weights=bytes(len(record.weights)))
    store = HDF5Store(making.write_zoo(tmp_path / "zoo.h5", columns, about))
    store.add_network(record)
    try:
        store.merge()
    except ZooError:
        store = HDF5Store(store.path)
    assert store.weights(record.entry.id) == record.weights
    store.collect_garbage()
    assert store.weights(record.entry.id) == record.weights


def test_a_linked_journal_leads_nowhere(good, tmp_path):
    """Neither read nor written through: a merge would remove another zoo's shards."""
    elsewhere = HDF5Store(tmp_path / "mine.h5")
    elsewhere.add_network(sample_network(99, accuracy=0.5))
    path = tmp_path / "zoo.h5"
    path.write_bytes(good.whole)
    path.with_name("zoo.h5.journal").symlink_to(tmp_path / "mine.h5.journal")
    for use in (
        lambda store: store.ids(),
        lambda store: store.merge(),
        lambda store: store.add_network(sample_network(5)),
    ):
        with pytest.raises(ZooError):
            use(HDF5Store(path))
    assert len(list((tmp_path / "mine.h5.journal").glob("*.h5"))) == 1
    assert len(HDF5Store(tmp_path / "mine.h5").ids()) == 1


def test_a_good_zoo_written_by_hand_is_good(good, tmp_path):
    """The tools that make hostile files make proper ones, so that nothing else is refused."""
    path = making.write_zoo(tmp_path / "zoo.h5", *good.copy())
    assert read(path) == (None, [])
    columns, about = good.copy()
    weights = good.weights[hostile.FIRST]
    half = len(weights) // 2
    packed = making.Frame(making.zstd([(0, weights[half:])], content=len(weights) - half), weights[half:], making.ZSTD)
    making.set_frames(columns, about, good, [making.raw(weights[:half]), packed], [0, 1])
    making.write_zoo(path, columns, about)
    assert not verify_path(path)
    with HDF5Store(path) as store:
        assert {name: store.weights(name) for name in store.ids()}.items() <= good.weights.items()
    assert not verify_path(making.edit(path, good, lambda file: None))
