"""Whole runs on a planted matrix: the document, its tables, and the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nns import UnknownNameError, load_plugins
from nns.bench import running
from nns.bench.choosers.ablations import ABLATIONS
from nns.bench.choosers.timing import SearchSeconds
from nns.bench.matrix import Matrix
from nns.bench.metrics import MEASURES
from nns.bench.running import run_bench
from nns.bench.tables import bench_tables

from .planted import plant_matrix

SECONDS = SearchSeconds(3.0, 1.0)


class Registry:
    """The real one, with the made-up method beside."""

    def __init__(self, known):
        self.real, self.known = load_plugins(), known

    def make(self, kind, name, **settings):
        return (self.known if name == "known" else self.real).make(kind, name, **settings)

    def names(self, kind):
        return self.real.names(kind)


@pytest.fixture(scope="module")
def matrix():
    return plant_matrix(8, 1, sources=3)


def run(matrix, known, seeds=2, limits=(None, 2e6)):
    return run_bench(
        matrix,
        registry=Registry(known),
        method="known",
        seeds=seeds,
        tans_epochs=3,
        time_search=lambda images: SECONDS,
        limits=limits,
    )


@pytest.fixture
def document(matrix, known_registry):
    return run(matrix, known_registry)


def by_name(document, truth="full"):
    return {chooser["name"]: chooser for chooser in document[truth]["choosers"]}


def test_the_document_of_a_run(document, matrix):
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["about"]["zoo"] == "f" * 64
    assert len(document["about"]["datasets"]) == 8
    assert (document["settings"]["limits"], document["settings"]["headline"]) == (["none", "2M"], ["2M"])
    full, head = by_name(document), by_name(document, "head_only")
    of_any_method = {name for name, variant in ABLATIONS.items() if not variant.of}
    assert set(full) - set(head) == {"successive halving", *of_any_method}
    assert full["oracle"]["headline"]["regret"] == 0
    assert full["oracle"]["headline"]["tau"] == pytest.approx(1)
    assert all(chooser["headline"]["feasible"] == 1 for chooser in full.values())
    assert all(chooser["headline"]["regret"] >= 0 for chooser in full.values())
    accuracy = matrix.accuracy()
    expected = 100 * np.mean([row.max() - row.mean() for row in accuracy])
    assert full["random"]["limits"]["none"]["regret"] == pytest.approx(expected, abs=1e-4)
    assert full["nns (known)"]["headline"]["coverage"] is not None
    assert full["nns (known)"]["headline"]["regret_spread"] is not None
    for bar in ("static mean rank", "static, by the prior"):
        assert full[bar]["bootstrap"][bar]["verdict"] == "undecided"
        assert full["random"]["bootstrap"][bar]["losses"] > 4
    assert document["about"]["run"]["versions"]["nns"]
    rows = full["random"]["rows"]
    assert {len(rows[name]) for name in ("task", "limit", "chosen", *MEASURES)} == {16}


def test_halving_has_as_long_as_the_tuning_of_three(document):
    full = by_name(document)
    first, halving = full["nns (known)"]["rows"], full["successive halving"]["rows"]
    one = np.array(first["tuning1"])
    assert (np.array(halving["cold"]) <= np.maximum(np.array(first["tuning3"]) + 1.0, one) + 6).all()
    assert halving["tuning1"] == [0.0] * 16


def test_another_run_gives_the_same_numbers(document, matrix, known_registry):
    again = run(matrix, known_registry)
    for name, chooser in by_name(document).items():
        for measure in ("regret", "tau", "rel3", "mae"):
            assert by_name(again)[name]["headline"][measure] == chooser["headline"][measure]


def test_the_tables_begin_with_separability_and_are_sorted_by_regret(document):
    tables = bench_tables(document)
    assert tables[0].title.startswith("How separable")
    assert "ffffffffffff" in tables[0].caption
    headline = tables[1]
    regrets = [float(row[1]) for row in headline.rows]
    assert regrets == sorted(regrets)
    assert "oracle" in [row[0] for row in headline.rows if row[1] == headline.rows[0][1]]
    assert "within the limits: all" in headline.caption
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)


def test_times_of_two_machines_are_not_compared_in_silence(document):
    document["about"]["run"]["machine"]["processor"] = "another"
    assert "on another" in bench_tables(document)[5].caption
    document["about"]["machine"]["processor"] = "another"
    assert not bench_tables(document)[5].caption


def test_a_limit_without_candidates_is_left_out(matrix, known_registry):
    document = run(matrix, known_registry, seeds=1, limits=(1e5, 2e6))
    oracle = by_name(document)["oracle"]
    assert oracle["limits"]["0.1M"]["regret"] is None
    assert document["full"]["separability"]["limits"]["0.1M"]["skipped"] == 8
    assert bench_tables(document)


def test_an_unknown_method_is_told_at_once(matrix):
    with pytest.raises(UnknownNameError, match="'mixed'"):
        run_bench(matrix, method="mixd")


@pytest.fixture
def quick(monkeypatch, matrix, tmp_path, known_registry):
    """A folder with a matrix, where the made-up method counts as mixed and nothing is timed."""
    monkeypatch.setattr(running, "measure_search", lambda images: SECONDS)
    monkeypatch.setattr(running, "run_bench", partial(run_bench, tans_epochs=3))
    monkeypatch.setattr("nns.cli.options.load_registry", lambda: Registry(known_registry))
    monkeypatch.chdir(tmp_path)
    matrix.save(tmp_path / "m.npz")
    return tmp_path


def test_run_and_show(nns, quick):
    done = nns("bench", "run", "m.npz", "--method", "known", "--seeds", 1, "--limit", "2M", "-o", "sub/run.json")
    assert done.code == 0, done.err
    assert done.out.startswith("How separable the benchmark is")
    for words in (
        "Choosing for full fine-tuning",
        "Regret in points by limit",
        "Beside static mean rank",
        "Beside static, by the prior",
        "TANS",
    ):
        assert words in done.out
    assert "query shuffled" in done.out
    shown = nns("bench", "show", "sub/run.json")
    assert (shown.code, shown.out) == (0, done.out)
    document = nns("bench", "show", "sub/run.json", "--json").json
    assert document == json.loads((quick / "sub" / "run.json").read_text())
    assert document["settings"]["limits"] == ["2M"]


def test_run_as_json_without_ablations(nns, quick):
    arguments = ("--method", "known", "--seeds", 1, "--limit", "none", "--limit", "2M", "--no-ablations", "--json")
    done = nns("bench", "run", "m.npz", *arguments)
    assert done.code == 0, done.err
    assert done.json["settings"]["limits"] == ["none", "2M"]
    assert not {chooser["kind"] for chooser in done.json["full"]["choosers"]} & {"ablation"}


def test_what_cannot_be_run(nns, quick):
    done = nns("bench", "run")
    assert done.code == 2
    assert "benchmarks/matrix/bank.npz" in done.err
    assert nns("bench", "run", "m.npz", "--limit", "many").code == 2
    (quick / "bad.npz").write_bytes(b"no archive")
    done = nns("bench", "run", "bad.npz")
    assert done.code == 2
    assert "not a matrix" in done.err


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}", '{"format": 9}', '{"format": 1, "full": {}}'])
def test_what_cannot_be_shown(nns, tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    done = nns("bench", "show", tmp_path / "run.json")
    assert done.code == 2
    assert "run.json" in done.err
    assert not done.out


def test_show_looks_for_the_run_of_the_repository(nns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "benchmarks/matrix/bank.json" in nns("bench", "show").err


def test_the_run_of_the_repository_can_be_shown(nns, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    shown = nns("bench", "show")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("How separable the benchmark is")
    matrix = Matrix.load(Path("benchmarks/matrix/bank.npz"))
    document = nns("bench", "show", "--json").json
    assert document["about"]["cells"] == int(np.isfinite(matrix.test).sum())
    assert [row["name"] for row in document["about"]["datasets"]] == [task.name for task in matrix.tasks]
