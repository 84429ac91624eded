"""Whatever a stranger sends is read or refused: never a crash, and never more than so much time and memory.

Each input is tried in a child of its own, whose memory and seconds the operating system bounds. Few inputs are tried in
the usual suite, so that the harness stays alive, and many in the slow one: $NNS_FUZZ of each.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nns.errors import NnsError
from nns.testing._store import sample_network

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

SECONDS = 20
MEMORY = 1 << 30
FEW, MANY = 3, int(os.environ.get("NNS_FUZZ", "300"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def within_budget(read):
    """Read something in a child; gives what is wrong with that, or nothing."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        said = b"died"
        try:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            torch.set_num_threads(1)
            read()
            said = b""
        except NnsError as error:
            said = b"" if len(str(error)) < 2000 else f"says {str(error)[:300]!r}".encode()  # the command line escapes
        except BaseException:  # noqa: BLE001
            said = traceback.format_exc()[-3000:].encode(errors="replace")
        finally:
            os.write(theirs, said or b"fine")
            os._exit(0)
    os.close(theirs)
    try:
        end, found = time.monotonic() + 2 * SECONDS, b"took too long, or was killed"
        if select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
            found = os.read(ours, 4000) or found
    finally:
        os.close(ours)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return "" if found == b"fine" else found.decode(errors="replace")


# inputs: a good one, and how it is changed

ODD = [
    b"",
    b"\0",
    b"\xff",
    b"NaN",
    b"-1",
    b"1e400",
    b"9" * 500,
    b"[" * 500,
    b'{"a":' * 300,
    b"\n",
    b'"',
    b"null",
    b"\\ud800",
]
ODD += [
    b"true",
    b"1e30",
    b"../../../etc/passwd",
    b"\x1b[2J",
    b"x" * 5000,
    b"," * 3000,
    b"\r\n",
    b"18446744073709551616",
]

CHANGE = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "replace", "double", "end"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 40),
    st.one_of(st.sampled_from(ODD), st.binary(max_size=20)),
)


def changed(data, changes):
    data = bytearray(data)
    for how, where, size, what in changes:
        at = int(where * len(data))
        if how == "flip" and data:
            data[at] ^= 1 << size % 8
        elif how == "cut":
            del data[at : at + size]
        elif how == "insert":
            data[at:at] = what
        elif how == "replace":
            data[at : at + size] = what
        elif how == "double":
            data[at:at] = data[at : at + 50 * size]
        elif how == "end":
            del data[at:]
    return bytes(data)


def numbers_of(document):
    """Paths to all values of a JSON document."""
    found = [()]
    if isinstance(document, dict):
        return found + [(key, *path) for key, value in document.items() for path in numbers_of(value)]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found += [(key, *path) for path in numbers_of(value)]
    return found


VALUES = [None, True, -1, 0, 1.5, 2**61, 10**30, 1e30, -1e300, "", "x" * 3000, "\x1b[31m", [], [[]], {}, {"a": []}]
VALUES += [[1] * 1000, "../x", "timm", "nan", 4096, 4097, 10**5, [10**5, 10**5, 10**5], ["a"] * 3]


def with_value(document, where, value):
    """Put a value somewhere into a JSON document."""
    paths = numbers_of(document)
    path = paths[int(where * len(paths))]
    if not path:
        return value
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def samples(folder, small_zoo):
    """A good input of each kind, as bytes, with the name of its file and what reads it."""
    from nns import Dataset, Zoo
    from nns.backends.checkpoint import read_state
    from nns.building import BuildSettings, read_build_file, write_build_file
    from nns.building.references import read_references
    from nns.data.decoding import examine, try_decode
    from nns.finetuning import load_handover
    from nns.finetuning.finetune_zoo import export_network
    from nns.finetuning.saved_search import read_search
    from nns.history import FineTuning, History, KnownDataset, KnownResult
    from nns.history.file import read_foreign
    from nns.repro import ReproSettings, StageRecord
    from nns.repro.lock import Lock, read_lock, write_lock
    from nns.tans.layout import read_networks
    from nns.types import DatasetRecord

    zoo = Zoo(small_zoo.path)
    small = min(zoo.store.entries(), key=lambda entry: entry.cost.body_bytes)
    export_network(zoo, small.id, folder / "model")
    stages = tuple(StageRecord(stage, {"a": "b"}, {}, {}) for stage in ReproSettings().covered)
    write_lock(folder / "lock", Lock(ReproSettings(), 0.1, stages, {}))
    buffer = BytesIO()
    torch.save({"state_dict": {"w": torch.ones(3, 4), "b": torch.zeros(3)}}, buffer)
    published = BytesIO()
    rows = {"dataset": ["a"], "acc": [0.5], "topol": [[3] * 45], "f_emb": [torch.zeros(1536)], "n_params": [10]}
    torch.save(rows, published)
    search = {"candidates": [{"id": "ab" * 8}, {"id": "cd" * 8}], "together": ["ab" * 8]}
    image = small_zoo.image
    table = "path,label,split\n" + "".join(f"{path},{path.parent.name},\n" for path in small_zoo.query.glob("*/*.png"))

    features = np.random.default_rng(0).gamma(1.0, 1.0, (40, 24)).astype(np.float32)
    known = KnownDataset.of(DatasetRecord("mine", "0" * 64, ("a", "b"), features, np.arange(40) % 2, 400, "lite0"))
    result = KnownResult("0123456789abcdef", "timm", "resnet", "random", "imagenet-1k", "", 10**6, 0.8, 4, 0.8)
    tuning = FineTuning("2026-11-29T08:00:00Z", "0.1", known, {"lr": 1e-3}, 12.5, "cpu", 60, (result,))
    History(folder / "history").add(tuning)
    history = (folder / "history").read_bytes()

    def model(path):
        shutil.copytree(folder / "model", path.parent / "handover", dirs_exist_ok=True)
        shutil.copy(path, path.parent / "handover" / path.name)
        load_handover(path.parent / "handover")

    def picture(path):
        examine(path)
        try_decode(path, 32)

    def dataset(path):
        opened = Dataset.open(str(path), require_labels=False)
        opened.unreadable()

    return {
        "zoo": ("zoo.h5", small_zoo.path.read_bytes(), read_zoo),
        "card": ("card.json", (folder / "model" / "card.json").read_bytes(), model),
        "weights": ("model.safetensors", (folder / "model" / "model.safetensors").read_bytes(), model),
        "search": ("search.json", json.dumps(search).encode(), lambda path: read_search(path, 3).ids),
        "recipe": ("recipe.toml", write_build_file(BuildSettings(data=("a",))).encode(), read_build_file),
        "lock": ("lock.json", (folder / "lock").read_bytes(), read_lock),
        "table": ("table.csv", table.encode(), dataset),
        "image": ("image.png", image.read_bytes(), picture),
        "history": ("history.jsonl", history, lambda path: (History(path).read(), read_foreign(path))),
        "checkpoint": ("net.pt", buffer.getvalue(), read_state),
        "published": ("p_mod_zoo.pt", published.getvalue(), read_networks),
        "references": ("table.csv", b"hub,accuracy,image_size\na/b,0.5,224\n", read_references),
    }


def read_zoo(path):
    from nns import Zoo
    from nns.zoo import verify_path

    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    from store.hostile import read_everything

    verify_path(path, quick=True)
    with Zoo(path).store as store:
        read_everything(store)


KINDS = ["zoo", "card", "weights", "search", "recipe", "lock", "table", "image", "history", "checkpoint", "published"]
KINDS += ["references"]
JSON = ["card", "search", "lock"]
PLAIN = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def check_bytes(kind, samples, folder, changes):
    name, good, read = samples[kind]
    path = folder / f"of-{kind}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(changed(good, changes))
    assert within_budget(lambda: read(path)) == ""


def check_values(kind, samples, folder, puts):
    name, good, read = samples[kind]
    document = json.loads(good)
    for where, value in puts:
        document = with_value(document, where, value)
    path = folder / f"of-{kind}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    assert within_budget(lambda: read(path)) == ""


CHANGES = st.lists(CHANGE, min_size=1, max_size=4)
PUTS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(VALUES)), min_size=1, max_size=3)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_good_inputs_are_read(kind, samples, folder):
    check_bytes(kind, samples, folder, [])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=FEW, **PLAIN)
@given(changes=CHANGES)
def test_a_few_changed_bytes(kind, samples, folder, changes):
    check_bytes(kind, samples, folder, changes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=MANY, **PLAIN)
@given(changes=CHANGES)
def test_many_changed_bytes(kind, samples, folder, changes):
    check_bytes(kind, samples, folder, changes)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", JSON)
@settings(max_examples=MANY, **PLAIN)
@given(puts=PUTS)
def test_other_values_in_json(kind, samples, folder, puts):
    check_values(kind, samples, folder, puts)


# a zoo whose checksums are right, so that what is in it is looked at

SHARE = st.floats(0, 1, exclude_max=True)
COLUMN = st.tuples(SHARE, SHARE, st.binary(min_size=1, max_size=8))


@pytest.fixture(scope="module")
def good(folder):
    from store import making

    return making.good_zoo(folder / "good.h5")


def check_zoo(good, folder, columns, puts):
    from store import making

    found, about = good.copy()
    names = sorted(found)
    for which, where, what in columns:
        name = names[int(which * len(names))]
        data = bytearray(found[name].tobytes())
        if data:
            at = int(where * len(data))
            data[at : at + len(what)] = what[: len(data) - at]
            found[name] = np.frombuffer(bytes(data), found[name].dtype).reshape(found[name].shape)
    for which, where, value in puts:
        table = ("networks", "datasets", "transfers", "supernets")[int(which * 4)]
        rows = making.rows_of(found, table)
        if rows:
            rows[0] = with_value(rows[0], where, value)
            making.set_meta(found, table, rows)
    path = making.write_zoo(folder / "columns.h5", found, about)
    assert within_budget(lambda: read_zoo(path)) == ""


ROWS = st.lists(st.tuples(SHARE, SHARE, st.sampled_from(VALUES)), max_size=2)


@pytest.mark.timeout(900)
@settings(max_examples=FEW, **PLAIN)
@given(columns=st.lists(COLUMN, max_size=3), puts=ROWS)
def test_a_few_zoos_with_other_columns(good, folder, columns, puts):
    check_zoo(good, folder, columns, puts)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=MANY, **PLAIN)
@given(columns=st.lists(COLUMN, max_size=3), puts=ROWS)
def test_many_zoos_with_other_columns(good, folder, columns, puts):
    check_zoo(good, folder, columns, puts)


def test_the_budget_is_kept():
    """What takes more is told."""
    assert "MemoryError" in within_budget(lambda: bytearray(2 * MEMORY))
    assert within_budget(lambda: sys.exit(3)) != ""
    assert within_budget(lambda: 1 / 0) != ""
    assert within_budget(lambda: sample_network(1)) == ""
