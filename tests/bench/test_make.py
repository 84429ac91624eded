"""A matrix of a tiny real zoo, made by the command line, interrupted and gone on with."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nns import BuildSettings, build_zoo
from nns.bench import running_cells
from nns.bench.matrix import Matrix
from nns.testing import tiny_image_folder

TABLE = "task,family,set\na,fa,sa\nb,fb,sb\nnear,fa,sa\nfar,fc,sc\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A zoo of four networks on the datasets a and b, and two query datasets, one of the set of a."""
    folder = tmp_path_factory.mktemp("bench")
    for seed, name in enumerate(("a", "b", "near", "far")):
        tiny_image_folder(folder / name, classes=2, per_class=12, size=16, seed=seed)
    settings = BuildSettings(
        data=(str(folder / "a"), str(folder / "b")),
        backends=("example",),
        networks=4,
        image_size=16,
        pretrained=False,
        epochs=1,
        transfers=0,
    )
    build_zoo(folder / "zoo.h5", settings, workers=0)
    (folder / "tasks.csv").write_text(TABLE)
    return folder


@pytest.fixture
def make(nns, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny)

    def run(*arguments):
        where = ("--tasks", "tasks.csv", "-o", tmp_path / "m.npz", "--workers", 0, "--epochs", 2)
        return nns("bench", "make", "zoo.h5", "near", "far", *where, *arguments)

    return run


@pytest.mark.slow
def test_a_matrix_is_made_interrupted_and_gone_on_with(make, tmp_path, monkeypatch):
    real, calls = running_cells.make_cells, []

    def interrupted(*arguments, on_event, **more):
        def stop(event):
            on_event(event)
            calls.append(event)
            if event.done == 3:
                raise KeyboardInterrupt

        return real(*arguments, on_event=stop, **more)

    monkeypatch.setattr(running_cells, "make_cells", interrupted)
    done = make()
    assert done.code == 130
    assert "run the same command again" in done.err
    assert not (tmp_path / "m.npz").exists()
    assert len((tmp_path / "m.cells.jsonl").read_text().splitlines()) == 1 + 3
    monkeypatch.setattr(running_cells, "make_cells", real)
    done = make("--json")
    assert done.code == 0, done.err
    assert (done.json["done"], done.json["total"], done.json["failed"]) == (6, 6, [])
    assert not (tmp_path / "m.images").exists()
    matrix = Matrix.load(tmp_path / "m.npz")
    assert [task.name for task in matrix.tasks] == ["near", "far"]
    assert np.isfinite(matrix.accuracy()).sum(axis=1).tolist() == [2, 4]  # those of a have no cell on near
    assert matrix.curves.shape == (1, 2, 4, 2)
    sources = np.array([candidate.source for candidate in matrix.candidates])
    assert (sources[np.isfinite(matrix.accuracy()[0])] == "b").all()
    assert matrix.about["recipe"]["epochs"] == 2


@pytest.mark.slow
def test_only_the_best_are_repeated(make, tmp_path):
    done = make("--seeds", 2, "--repeat-best", 1, "--json")
    assert done.code == 0, done.err
    matrix = Matrix.load(tmp_path / "m.npz")
    first, second = np.isfinite(matrix.test)
    assert first.sum() == 6
    assert 2 <= second.sum() == done.json["total"] - 6  # all are below the least limit
    for start in (matrix.val[0] + matrix.test[0], matrix.history()):  # the best of the first run, and of all runs
        assert second[[0, 1], np.nanargmax(start, axis=1)].all()
    assert make("--seeds", 2, "--repeat-best", 1, "--json").json["total"] == done.json["total"]


@pytest.mark.slow
def test_failed_cells_are_named_and_made_by_the_next_run(make, tmp_path, monkeypatch):
    from nns.bench import making

    def broken(place, item, registry=None):
        raise ValueError(f"no luck with {item.dataset}")

    with monkeypatch.context() as patched:
        patched.setattr(making, "run_cell", lambda *a: broken(*a) if a[1].dataset == "near" else real(*a))
        real = __import__("nns.bench.cells", fromlist=["run_cell"]).run_cell
        done = make()
    assert done.code == 1
    assert "no luck with near" in done.out
    assert "2 cells failed" in done.err
    assert [task.name for task in Matrix.load(tmp_path / "m.npz").tasks] == ["far"]
    done = make()
    assert done.code == 0, done.err
    assert len(Matrix.load(tmp_path / "m.npz").tasks) == 2


def test_what_cannot_be_made(nns, tiny, tmp_path, make, monkeypatch):
    assert "must end in .npz" in make("-o", tmp_path / "m.json").err
    (tmp_path / "few.csv").write_text("task,family,set\na,fa,sa\nb,fb,sb\nnear,fa,sa\n")
    done = nns("bench", "make", "zoo.h5", "near", "far", "--tasks", tmp_path / "few.csv", "-o", tmp_path / "m.npz")
    assert done.code == 2
    assert "no family and set are known of far" in done.err
    assert not list(tmp_path.glob("m.*"))
    assert nns("bench", "make", "zoo.h5", "near", "--tasks", "none.csv", "-o", tmp_path / "m.npz").code == 2
    (tmp_path / "m.cells.jsonl").write_text(json.dumps({"zoo": "other"}) + "\n")
    done = make()
    assert done.code == 2
    assert "another zoo or recipe" in done.err
