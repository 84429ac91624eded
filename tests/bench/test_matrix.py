"""A matrix survives its file; damaged files are refused; what may be known of a family is what others tell."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from nns.bench.matrix import Matrix
from nns.errors import UsageError
from nns.priors import Facts


@pytest.fixture
def saved(planted, tmp_path):
    path = tmp_path / "m.npz"
    planted.save(path)
    return path


def test_what_is_published_of_networks_survives_the_file_of_a_matrix(planted, tmp_path):
    facts = tuple(Facts("imagenet", 1e6 + n, imagenet=0.7) for n in range(len(planted.zoo.network_ids)))
    rows = tuple(replace(row, published={"imagenet-r": 0.3}) for row in planted.candidates)
    matrix = replace(planted, candidates=rows, zoo=replace(planted.zoo, facts=facts))
    matrix.save(tmp_path / "m.npz")
    loaded = Matrix.load(tmp_path / "m.npz")
    assert loaded.candidates[3].published == {"imagenet-r": 0.3}
    assert [(each.start, each.params, each.imagenet) for each in loaded.zoo.facts[:2]] == [
        ("imagenet", 1e6, 0.7),
        ("imagenet", 1e6 + 1, 0.7),
    ]
    assert loaded.training_data(0).facts == loaded.zoo.facts


def test_a_matrix_survives_its_file(planted, saved):
    loaded = Matrix.load(saved)
    assert (loaded.about, loaded.tasks) == (planted.about, planted.tasks)
    assert [c.id for c in loaded.candidates] == [c.id for c in planted.candidates]
    assert np.isnan(loaded.candidates[5].imagenet)
    for name in ("params", "val", "test", "head_val", "head_test", "curves", "epoch_seconds", "feature_seconds"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(planted, name))
    for name in ("scores", "score_seconds"):
        assert set(getattr(loaded, name)) == {"ridge", "knn"}
        np.testing.assert_array_equal(getattr(loaded, name)["knn"], getattr(planted, name)["knn"])
    for field in fields(planted.zoo):
        before, after = getattr(planted.zoo, field.name), getattr(loaded.zoo, field.name)
        if field.name in ("network_ids", "dataset_names", "families"):
            assert before == after
        elif field.name == "blocks":
            assert set(before) == set(after)
            for name, block in before.items():
                np.testing.assert_allclose(after[name], block, rtol=2e-3, atol=2e-3)
        elif field.name == "queries":  # 256 levels a column
            step = np.ptp(np.concatenate(before), axis=0).max() / 255
            for one, other in zip(before, after, strict=True):
                np.testing.assert_allclose(one, other, atol=0.51 * step)
        else:
            for one, other in zip(before, after, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6)
    assert list(saved.parent.iterdir()) == [saved]


def rewritten(path, change):
    """Change the arrays of a matrix and its document, and write it again."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    document = json.loads(arrays["document"].tobytes())
    change(arrays, document)
    arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez_compressed(path, **arrays)


CHANGES = {
    "format 99": lambda arrays, document: document.update(format=99),
    "shape": lambda arrays, document: arrays.update(val=arrays["val"][:, 1:]),
    "params": lambda arrays, document: arrays.pop("params"),
    "rows": lambda arrays, document: document["families"].pop(),
    "unexpected": lambda arrays, document: document["tasks"][0].update(colour="red"),
    "format": lambda arrays, document: document.pop("format"),
}


@pytest.mark.parametrize("told", CHANGES)
def test_what_is_no_matrix_is_refused(saved, told):
    rewritten(saved, CHANGES[told])
    with pytest.raises(UsageError, match=told):
        Matrix.load(saved)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 nor this"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"m\.npz is not a matrix"):
        Matrix.load(path)
    with pytest.raises(UsageError, match="missing"):
        Matrix.load(tmp_path / "missing")


def test_a_damaged_file_is_refused_wherever_the_damage_is(saved):
    content = saved.read_bytes()
    for place in range(40, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        damaged[place - 1] ^= 0xFF
        saved.write_bytes(damaged)
        try:
            Matrix.load(saved)
        except UsageError:
            continue
        with zipfile.ZipFile(saved) as archive:  # a byte that stands for nothing, as a date
            assert archive.testzip() is None
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError):
        Matrix.load(saved)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    monkeypatch.setattr("nns.bench.matrix.MAX_BYTES", 1000)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(10_000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.npy", buffer.getvalue())
    with pytest.raises(UsageError, match="larger than any matrix"):
        Matrix.load(path)


def test_accuracy_and_history_are_means_of_what_is_there(planted):
    np.testing.assert_allclose(planted.accuracy(), planted.test.mean(axis=0), rtol=1e-6)
    both = (planted.val.mean(axis=0) + planted.test.mean(axis=0)) / 2
    np.testing.assert_allclose(planted.history(), both, rtol=1e-6)
    np.testing.assert_allclose(planted.history(head_only=True), (planted.head_val + planted.head_test) / 2)


def test_what_may_be_known_of_a_family(planted):
    data = planted.training_data(1)  # of q0, as the zoo's first dataset is
    assert data.network_ids == planted.zoo.network_ids
    assert "q0" not in data.families
    assert len(data.dataset_names) == len(planted.zoo.dataset_names) - 3
    own = planted.zoo.dataset_index == 0
    assert (data.dataset_index[own] == -1).all()
    assert np.isnan(data.accuracy[own]).all()
    names = np.array(data.dataset_names)
    for network in np.flatnonzero(~own & (planted.zoo.dataset_index >= 0)):
        before = planted.zoo.dataset_names[planted.zoo.dataset_index[network]]
        assert names[data.dataset_index[network]] == before
    assert sorted(set(names[data.transfer_dataset])) == sorted(f"task{t}" for t in range(2, 12))
    row = {name: t for t, name in enumerate(task.name for task in planted.tasks)}
    for network, dataset, accuracy in zip(data.transfer_network, data.transfer_dataset, data.transfer_accuracy):
        assert planted.history()[row[names[dataset]], network] == accuracy
