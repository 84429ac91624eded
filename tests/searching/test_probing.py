"""The probe's part of the score, and searches with it."""

import math
import shutil

import numpy as np
import pytest

from nns import Zoo, search
from nns.data import Dataset
from nns.searching.probes import Probe, moved_accuracy, probe_terms, run_probe, running
from nns.searching.probes._base import PROBE_WEIGHT, standard_terms
from nns.searching.probes.ridge import Ridge


def test_terms_are_centred_logits():
    terms = probe_terms({"a": 0.5, "b": 0.9, "c": 1.0})
    assert sum(terms.values()) == pytest.approx(0, abs=1e-12)
    assert terms["b"] - terms["a"] == pytest.approx(PROBE_WEIGHT * math.log(9))
    assert np.isfinite(terms["c"]) and terms["c"] > terms["b"]
    assert probe_terms({}) == {}


def test_scores_that_are_no_accuracies_count_by_their_deviation():
    terms = standard_terms({"a": -3.0, "b": -1.0})
    assert terms == {"a": pytest.approx(-PROBE_WEIGHT), "b": pytest.approx(PROBE_WEIGHT)}
    assert standard_terms({"a": 7.0}) == {"a": 0.0}
    assert standard_terms({"a": 7.0, "b": 7.0}) == {"a": 0.0, "b": 0.0}


def test_a_probe_never_sees_validation_and_test_images(small_zoo, tmp_path, monkeypatch):
    for split, numbers in (("train", range(12)), ("val", range(12, 20)), ("test", range(20, 24))):
        for folder in small_zoo.query.iterdir():
            (tmp_path / split / folder.name).mkdir(parents=True)
            for path in [sorted(folder.glob("*.png"))[number] for number in numbers]:
                shutil.copy(path, tmp_path / split / folder.name / path.name)
    dataset, seen = Dataset.open(str(tmp_path)), []
    decode = running._decode
    monkeypatch.setattr(running, "_decode", lambda data, drawn, size: seen.extend(drawn) or decode(data, drawn, size))
    with Zoo(small_zoo.path) as zoo:
        run_probe(Ridge(), dataset, zoo, zoo.store.entries()[:1])
    assert [dataset.items[index].split for index in seen] == ["train"] * 24


def test_a_probe_of_a_folder_without_splits_sees_what_will_be_trained_on(small_zoo, monkeypatch):
    dataset, seen = Dataset.open(str(small_zoo.query)), []
    decode = running._decode
    monkeypatch.setattr(running, "_decode", lambda data, drawn, size: seen.extend(drawn) or decode(data, drawn, size))
    with Zoo(small_zoo.path) as zoo:
        run_probe(Ridge(), dataset, zoo, zoo.store.entries()[:1], seed=3)
    members, _ = dataset.split_indices(32, seed=3)
    assert seen
    assert set(seen) <= set(members["train"].tolist())
    assert dataset.planned_splits(seed=3)["train"].tolist() == members["train"].tolist()
    assert dataset.planned_splits(seed=4)["train"].tolist() != members["train"].tolist()


def test_moving_an_accuracy_by_logits():
    assert moved_accuracy(0.5, math.log(3)) == pytest.approx(0.75)
    assert moved_accuracy(0.37, 0.0) == 0.37
    assert 0 < moved_accuracy(0.0, 2.0) < 0.01


def test_a_probe_with_another_score_and_fewer_images(small_zoo):
    seen = []

    class Counting(Probe):
        def score(self, features, labels):
            seen.append((len(features), len(labels), len(np.unique(labels))))
            return 0.25

    with Zoo(small_zoo.path) as zoo:
        entries = zoo.store.entries()[:2]
        found = run_probe(Counting(), Dataset.open(str(small_zoo.query)), zoo, entries, images=6)
    assert found == {entry.id: 0.25 for entry in entries}
    assert seen == [(6, 6, 2)] * 2


@pytest.mark.parametrize("probe", ["hscore", "ridge"])
def test_only_what_is_an_accuracy_is_shown_as_a_share(small_zoo, probe):
    found = search(small_zoo.query, small_zoo.path, probe=probe)
    column = [heading for heading, _ in found.table().columns].index("probe")
    shown = found.table().rows[0][column]
    assert "match" in dict(found.table().columns)
    assert shown == (f"{found.best.probe:.0%}" if probe == "ridge" else f"{found.best.probe:.2f}")


def test_the_first_on_disk_are_probed_and_what_is_elsewhere_keeps_its_place(small_zoo, monkeypatch):
    from nns.networks import Network
    from nns.searching import ranking

    plain = search(str(small_zoo.query), small_zoo.path, top=50)
    order = [each.entry.id for each in plain.candidates]
    elsewhere = {order[0], order[2]}
    asked = []

    class Equal(Probe):
        is_accuracy = True

        def score(self, features, labels):
            asked.append(len(labels))
            return 0.5

    monkeypatch.setattr(ranking, "make_probe", lambda registry, name: Equal())
    monkeypatch.setattr(Network, "on_disk", property(lambda network: network.id not in elsewhere))
    with Zoo(small_zoo.path) as zoo:
        found = ranking.search(str(small_zoo.query), zoo, top=50, probe="any", probed=2)
    assert len(asked) == 2
    assert [each.entry.id for each in found.candidates if each.probe is not None] == [order[1], order[3]]
    assert [each.entry.id for each in found.candidates] == order, "a probe that tells nothing apart changes nothing"
