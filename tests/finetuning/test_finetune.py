"""Between the zoo and the ladder: candidates, decoded data, search results as input."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest

from nns import Recipe, UnknownNameError, UsageError, Zoo, finetune, predict
from nns.data import Dataset
from nns.finetuning.finetune_zoo import entrant_of, export_network
from nns.finetuning.saved_search import read_search
from nns.networks import Network
from nns.types import Preprocessing


@pytest.fixture(scope="module")
def zoo(plain_zoo):
    with Zoo(plain_zoo.path) as zoo:
        yield zoo


def test_data_is_decoded_once_a_size_and_split_alike(plain_zoo, monkeypatch):
    dataset = Dataset.open(plain_zoo.settings.data[0])
    small, same, large = (dataset.splits_at(size)[0] for size in (16, 16, 24))
    assert small is same
    assert large.train.images.shape[-1] == 24
    assert (small.train.labels == large.train.labels).all()
    assert len(pickle.dumps(dataset)) < small.train.images.nbytes


def test_a_candidate_starts_from_the_stored_weights_with_a_new_head(zoo):
    import torch

    entry = zoo.store.entries()[0]
    stored = zoo.registry.backend("example").build(entry.spec, 2)
    made = entrant_of(zoo.network(entry.id), 5, seed=1)
    module, again = made.build(), entrant_of(zoo.network(entry.id), 5, seed=1).build()
    fresh = entrant_of(zoo.network(entry.id), 5, seed=1, random_weights=True).build()
    assert (made.id, made.preprocessing) == (entry.id, entry.preprocessing)
    assert module.head.out_features == fresh.head.out_features == 5
    assert torch.equal(module.head.weight, again.head.weight)
    assert torch.equal(module.body[0].weight, again.body[0].weight)
    assert not torch.equal(module.body[0].weight, fresh.body[0].weight)
    assert not torch.equal(module.body[0].weight, stored.body[0].weight)


def test_another_image_size_keeps_mean_and_deviation(zoo):
    entry = zoo.store.entries()[0]
    entry = replace(entry, preprocessing=Preprocessing(16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    made = entrant_of(Network(entry, zoo), 2, image_size=48)
    assert made.preprocessing == Preprocessing(48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_networks_of_a_search(tmp_path):
    path = tmp_path / "search.json"
    path.write_text(json.dumps({"candidates": [{"id": name} for name in "abc"]}))
    assert read_search(path, 2).ids == ("a", "b")
    path.write_text(json.dumps({"candidates": [{"id": name} for name in "abc"], "together": ["a", "x", "c"]}))
    assert [read_search(path, count).ids for count in (1, 2, 5)] == [("a",), ("a", "x"), ("a", "x", "c", "b")]
    for text in (
        "",
        "[]",
        "{}",
        '{"candidates": 3}',
        '{"candidates": [{}]}',
        '{"candidates": [1]}',
        '{"candidates": [{"id": 1}], "together": 3}',
        '{"candidates": [{"id": 1}], "together": "abc"}',
        '"x"',
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"search\.json"):
            read_search(path, 2)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"search\.json"):
        read_search(path, 2)


def test_fine_tuning_and_what_it_hands_over(zoo, plain_zoo, tmp_path):
    first, second = zoo.store.ids()[:2]
    report = finetune(
        plain_zoo.settings.data[1],
        zoo,
        [first, second[:6], first],
        str(tmp_path / "model"),
        recipe=Recipe(epochs=2),
    )
    assert {tried.network for tried in report.card.tried} == {first, second}  # one named twice is tried once
    assert report.card.network == report.card.tried[0].network
    assert report.card.classes == ("class-0", "class-1")
    assert report.card.zoo_digest == zoo.store.digest()
    assert report.skipped == ()
    image = f"{plain_zoo.settings.data[1]}/class-1/006.png"
    (prediction,), _ = predict(report.output, [image])
    assert prediction.label in report.card.classes


def test_a_taken_folder_is_found_before_anything_is_trained(zoo, plain_zoo, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="name another folder"):
        finetune("/nowhere", zoo, list(zoo.store.ids()), tmp_path, recipe=Recipe(epochs=1))
    with pytest.raises(UnknownNameError, match="unknown network 'zzz'"):
        finetune(plain_zoo.settings.data[0], zoo, ["zzz"], tmp_path / "model", recipe=Recipe(epochs=1))
    assert not (tmp_path / "model").exists()


def test_a_network_of_the_zoo_is_exported_as_it_is(zoo, tmp_path):
    import torch
    from safetensors.torch import load, load_file

    entry, folder = export_network(zoo, zoo.store.ids()[0][:8], tmp_path / "network")
    written = load_file(folder / "model.safetensors")
    stored = load(zoo.store.weights(entry.id))
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[name], stored[name]) for name in stored)


@pytest.mark.parametrize(("gone", "left"), [(0.0, 9.5), (4.0, 5.5), (60.0, 0.1)])
def test_a_budget_runs_from_the_beginning_of_the_command(zoo, plain_zoo, tmp_path, monkeypatch, clock, gone, left):
    from nns.finetuning import finetune_zoo

    found, real = [], finetune_zoo.climb

    def climb(*arguments, budget_seconds, **more):
        found.append(budget_seconds)
        return real(*arguments, **more)

    monkeypatch.setattr(finetune_zoo, "climb", climb)
    clock.now = 100.0
    recipe = Recipe(epochs=1, seconds=10.0, device="cpu")
    data, network = plain_zoo.settings.data[0], zoo.store.ids()[0]
    finetune_zoo.finetune(data, zoo, [network], tmp_path / "out", recipe, since=100.0 - gone)
    assert found == [pytest.approx(left)]
