"""From a fine-tuning to the next search and the next fit: by the commands, on the small zoo."""

from __future__ import annotations

import json

import pytest

import nns as library
from nns.finetuning import choosing
from nns.history import History
from nns.zoo import Zoo

EPOCHS = ("--epochs", 1, "--image-size", 32, "--device", "cpu")


@pytest.fixture
def history(tmp_path, monkeypatch):
    path = tmp_path / "own" / "history.jsonl"
    monkeypatch.setenv("NNS_HISTORY", str(path))
    return History(path)


@pytest.fixture
def tuned(nns, small_zoo, history, tmp_path, monkeypatch):
    """A fine-tuning of three networks is in the history."""
    monkeypatch.setattr(choosing, "TELLING", 0)
    folder = tmp_path / "model"
    done = nns("finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", folder, "--try", 3, *EPOCHS, "--json")
    assert done.code == 0, done.err
    return done.json


def test_a_fine_tuning_is_kept(tuned, history, small_zoo, tmp_path):
    (record,) = history.read()
    assert record.dataset.name == "digits-89"
    assert record.dataset.classes == 2
    assert [result.network for result in record.results] == [each["network"] for each in tuned["tried"]]
    assert record.results[0].accuracy == tuned["val_accuracy"]
    assert record.results[0].test_accuracy == tuned["test_accuracy"]
    assert record.results[0].macro_f1 == tuned["macro_f1"]
    assert record.recipe["epochs"] == 1
    text = history.path.read_text()
    assert str(tmp_path) not in text
    assert str(small_zoo.folder) not in text
    assert ".png" not in text


def test_the_next_search_says_how_many_counted(tuned, search, nns, small_zoo):
    found = search().json
    assert found["own_results"]["results"] == len(tuned["tried"])
    assert found["own_results"]["nearest"] == {"dataset": "digits-89", "likeness": 1.0}
    assert any(candidate["terms"]["own"] for candidate in found["candidates"])
    for candidate in found["candidates"]:
        assert sum(candidate["terms"].values()) == pytest.approx(candidate["score"], abs=1e-4)
    without = search("--no-history").json
    assert without["own_results"]["results"] == 0
    assert "own" not in without["candidates"][0]["terms"]
    ran = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--explain")
    said = ran.out
    assert f"{len(tuned['tried'])} results of your own on 1 dataset counted (`nns history ls`" in ran.err
    assert f"{len(tuned['tried'])} results of your own on 1 dataset counted" in said


def test_many_results_turn_a_ranking(search, history, tuned, small_zoo):
    order = [each["id"] for each in search("--no-history", "--top", 99).json["candidates"]]
    (record,) = history.read()
    first, last = record.results[0], record.results[1]
    from dataclasses import replace

    history.forget()
    for number in range(12):
        results = (
            replace(first, network=order[-1], accuracy=0.99, winner_accuracy=0.99),
            replace(last, network=order[0], accuracy=0.3, winner_accuracy=0.99, stopped="finished"),
        )
        history.add(replace(record, date=f"2026-11-29T00:00:{number:02d}Z", results=results))
    turned = [each["id"] for each in search("--top", 99).json["candidates"]]
    assert turned.index(order[-1]) < turned.index(order[0])


def test_no_history_is_kept_unless_wanted(nns, small_zoo, history, tmp_path, monkeypatch):
    base = ("finetune", small_zoo.query, "--zoo", small_zoo.path, "--try", 1, *EPOCHS)
    assert nns(*base, "-o", tmp_path / "a", "--no-history").code == 0
    monkeypatch.setenv("NNS_HISTORY", "off")
    assert nns(*base, "-o", tmp_path / "b").code == 0
    assert not history.path.exists()
    assert nns("history", "ls").code == 2


def test_a_history_that_cannot_be_written_costs_nothing(nns, small_zoo, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NNS_HISTORY", str(tmp_path / "file" / "history.jsonl"))
    done = nns(
        "finetune", small_zoo.query, "--zoo", small_zoo.path, "--try", 1, "-o", tmp_path / "a", *EPOCHS, "--json"
    )
    assert done.code == 0, done.err
    assert "not kept" in done.err


def test_the_commands(nns, tuned, history, tmp_path, monkeypatch):
    listed = nns("history", "ls", "--json").json
    assert [each["dataset"]["name"] for each in listed["fine_tunings"]] == ["digits-89"]
    assert "mean" not in listed["fine_tunings"][0]["dataset"]
    assert "digits-89" in nns("history", "ls").out
    assert "test macro F1" in nns("history", "ls").out
    monkeypatch.setenv("COLUMNS", "60")
    assert "validation accuracy" in nns("history", "ls").out, "in a narrow terminal, too"
    monkeypatch.setenv("COLUMNS", "200")
    assert nns("history", "export", tmp_path / "mine.jsonl").code == 0
    assert nns("history", "export", tmp_path / "mine.jsonl").code == 2
    assert nns("history", "forget").code == 2
    assert nns("history", "forget", listed["fine_tunings"][0]["id"], "--json").json == {"forgotten": 1}
    assert nns("history", "merge", tmp_path / "mine.jsonl", "--json").json == {"added": 1, "known": 0, "dropped": 0}
    assert "merged" in nns("history", "ls").out
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert nns("history", "merge", tmp_path / "bad.jsonl").code == 4
    assert nns("history", "merge", tmp_path / "none.jsonl").code == 2
    assert nns("history", "forget", "--all").code == 0
    assert "nothing yet" in nns("history", "ls").err


def test_a_team_fits_a_space_with_its_history(nns, tuned, history, small_zoo, tmp_path):
    zoo = small_zoo.copy(tmp_path)
    nns("history", "export", tmp_path / "team.jsonl")
    with Zoo(zoo) as opened:
        before = opened.store.transfers(), [record.digest for record in opened.datasets()]
    done = nns("space", "fit", zoo, "--history", tmp_path / "team.jsonl", "--epochs", 5, "--no-held-out", "--json")
    assert done.code == 0, done.err
    assert done.json["own_results"] == len(tuned["tried"])
    with Zoo(zoo) as opened:
        assert (opened.store.transfers(), [record.digest for record in opened.datasets()]) == before
        assert library.Space.load(opened).report["own_results"] == len(tuned["tried"])
    shown = nns("space", "show", zoo, "--json").json["spaces"]
    assert [each["own_results"] for each in shown] == [len(tuned["tried"])]
    json.dumps(shown, allow_nan=False)


def test_results_of_unknown_networks_do_not_join(small_zoo, tuned, history):
    from dataclasses import replace

    from nns.space._data import SpaceData
    from nns.space._own_results import with_own_results

    (record,) = history.read()
    strange = replace(record, results=(replace(record.results[0], network="f" * 16, weights=""),))
    with Zoo(small_zoo.path) as zoo:
        data = SpaceData.of(zoo)
        joined, count = with_own_results(data, zoo, [strange, record, record])
    assert count == 2 * len(record.results)
    assert len(joined.transfer_network) == len(record.results)  # the mean of both
    assert joined.dataset_names[-1] == "digits-89"
