"""The search as a library call."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from nns import Limits, UnknownNameError, UsageError, Zoo
from nns.data import Dataset
from nns.data.extractors import make_extractor
from nns.searching import search
from nns.space import Space


@pytest.fixture(scope="module")
def zoo(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        yield zoo


@pytest.fixture(scope="module")
def results(small_zoo, zoo):
    """Searches with different datasets of three classes each."""
    return [search(str(data), zoo, top=12) for data in small_zoo.data[:2]]


def test_the_static_choice_does_not_depend_on_the_query(results):
    first, second = results
    assert first.static_choice.entry.id == second.static_choice.entry.id
    priors = [{c.entry.id: c.prior for c in result.candidates} for result in results]
    assert priors[0] == priors[1]
    assert first.static_choice.prior == max(priors[0].values())
    assert [c.score for c in first.candidates] != [c.score for c in second.candidates]


def test_the_static_choice_is_within_the_limits(small_zoo, zoo):
    found = search(str(small_zoo.query), zoo, Limits(backend="example"), top=1)
    assert found.static_choice.entry.spec.backend == "example"
    assert 1 <= found.static_choice.rank <= found.feasible == 3
    assert len(found.candidates) == 1


def test_ranks_follow_scores_and_ids(results):
    for result in results:
        keys = [(-c.score, c.entry.id) for c in result.candidates]
        assert keys == sorted(keys)
        assert [c.rank for c in result.candidates] == list(range(1, 13))


def test_the_head_is_that_of_the_data_unless_it_has_no_labels(small_zoo, zoo, tmp_path):
    for number, path in enumerate(small_zoo.query.glob("*/*.png")):
        (tmp_path / f"{number}.png").write_bytes(path.read_bytes())
    labelled = search(str(small_zoo.query), zoo, classes=50, top=1).candidates[0]
    flat = search(str(tmp_path), zoo, classes=50, top=1).candidates[0]
    own = search(str(tmp_path), zoo, top=1).candidates[0]
    assert labelled.params == labelled.entry.cost.params(2)
    assert flat.params == flat.entry.cost.params(50)
    assert own.params == own.entry.cost.params(len(own.entry.classes))


def test_what_a_search_reads(small_zoo, zoo):
    steps = []
    record = Dataset.open(str(small_zoo.query)).features(make_extractor())
    dataset = search(str(small_zoo.query), zoo, progress=lambda *step: steps.append(step)).dataset
    assert record.features.shape == (20, 1280)
    assert np.isfinite(record.features).all()
    assert (record.images, record.classes, np.bincount(record.labels).tolist()) == (48, ("8", "9"), [10, 10])
    assert (dataset.classes, dataset.images, dataset.skipped) == (2, 48, ())
    totals = {"reading images": 20, "computing features": 20, "checking images": 28}
    totals |= {what: total for what, _, total in steps if what == "checking networks"}  # of those that are shown
    assert {(what, total, total) for what, total in totals.items()} <= set(steps)
    assert all(done <= total == totals[what] for what, done, total in steps)


def test_wrong_arguments_fail_before_anything_is_read(zoo, caplog):
    with caplog.at_level(logging.ERROR):
        for call, error in [
            ({"top": 0}, UsageError),
            ({"space": "tans"}, UnknownNameError),
            ({"limits": Limits(backend="off")}, UnknownNameError),
        ]:
            with pytest.raises(error):
                search("/nowhere", zoo, **call)


def test_the_default_space_comes_first(zoo):
    assert Space.load(zoo).name == "mixed"
    assert Space.load(zoo, "mixed").embeddings.shape[0] == len(zoo)
