"""``nns search``: the document of the contract, limits, repeatability."""

from __future__ import annotations

import shutil

import pytest

from nns.quantities import parse_latency

DOCUMENT = {"dataset", "zoo", "limits", "candidates", "static_choice", "seconds"} | {"space", "feasible"}
DOCUMENT |= {"neighbours", "far", "own_results", "expected_gain", "together", "unscored", "left_out"}
DATASET = {"path", "classes", "images", "skipped", "digest"}
DATASET |= {"layout", "class_sizes", "splits", "left_out", "warnings"}
ZOO = {"path", "digest", "networks"}
LIMITS = {"max_params", "max_macs", "max_size", "max_latency_ms", "backend", "license"}
CANDIDATE = {
    "needs",
    "rank",
    "id",
    "backend",
    "architecture",
    "source_dataset",
    "params",
    "macs",
    "bytes",
    "latency_ms",
}
CANDIDATE |= {"score", "predicted_accuracy", "interval", "license"} | {"similarity", "prior"}
CANDIDATE |= {"terms", "probe", "weights"}
SECONDS = {"features", "score", "total", "probe"}


def without_seconds(document):
    return {key: value for key, value in document.items() if key != "seconds"}


def test_the_document_has_the_keys_of_the_contract(search, small_zoo):
    done = search()
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert set(found) == DOCUMENT
    assert set(found["dataset"]) == DATASET
    assert set(found["zoo"]) == ZOO
    assert set(found["limits"]) == LIMITS
    assert set(found["seconds"]) == SECONDS
    for candidate in [*found["candidates"], found["static_choice"]]:
        assert set(candidate) == CANDIDATE
        low, high = candidate["interval"]
        assert 0 <= low <= candidate["predicted_accuracy"] <= high <= 1
        assert candidate["latency_ms"] is None
    assert found["dataset"]["path"] == str(small_zoo.query)
    assert (found["dataset"]["classes"], found["dataset"]["images"], found["dataset"]["skipped"]) == (2, 48, [])
    assert (found["zoo"]["networks"], found["feasible"], len(found["candidates"])) == (12, 12, 10)
    assert [candidate["rank"] for candidate in found["candidates"]] == list(range(1, 11))
    scores = [candidate["score"] for candidate in found["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert found["together"][0] == found["candidates"][0]["id"]
    assert len(set(found["together"])) == 3


def test_fewer_images_are_looked_at_where_so_many_are_asked_for(nns, small_zoo, tmp_path):
    call = ("search", small_zoo.query, "--zoo", small_zoo.path, "--json")
    every, few, one = (nns(*call, *more).json for more in ((), ("--images", 4), ("--images", 1)))
    assert every["dataset"] == few["dataset"] == one["dataset"]
    scores = [{c["id"]: c["score"] for c in found["candidates"]} for found in (every, few, one)]
    assert scores[0] != scores[1] != scores[2]
    assert nns(*call, "--images", 48).json["candidates"] == every["candidates"]
    done = nns(*call, "--images", 0)
    assert (done.code, done.out) == (2, "")
    assert "--images must be at least 1" in done.err


def test_the_table_names_the_few_to_fine_tune(search, nns, small_zoo):
    found = search().json
    together = found["together"]
    out = nns("search", small_zoo.query, "--zoo", small_zoo.path).out
    sentence = out[out.index("To fine-tune 3 and keep the best: number 1 (") :].splitlines()[0]
    assert all(network[:10] in sentence for network in together)
    every = search("--top", 50).json["candidates"]
    for limit in sorted({candidate["params"] for candidate in every}):
        within = sum(candidate["params"] <= limit for candidate in every)
        said = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--max-params", limit).out
        sentence = "To fine-tune: number 1 (" if within == 1 else f"To fine-tune {min(within, 3)} and keep the best: "
        assert said.count(sentence) == 1


def test_the_same_input_and_seed_give_the_same_answer(search):
    first, again, other = search(), search(), search("--seed", 1)
    assert without_seconds(first.json) == without_seconds(again.json)
    assert other.json["candidates"][0]["score"] != first.json["candidates"][0]["score"]


def test_a_probe_reorders_the_best_by_what_it_finds(search, monkeypatch):
    monkeypatch.setattr("nns.searching.searcher.PROBED", 10)  # the zoo has but twelve
    plain, probed = search("--top", 12).json, search("--top", 12, "--probe", "--probe-seconds", 600).json
    assert all(candidate["probe"] is None for candidate in plain["candidates"])
    assert {c["id"] for c in probed["candidates"][:10]} == {c["id"] for c in plain["candidates"][:10]}
    first = [c for c in probed["candidates"] if c["probe"] is not None]
    assert 10 <= len(first) <= 11  # the static choice is probed as well
    assert [c["rank"] for c in first] == list(range(1, len(first) + 1))
    scores = [c["score"] for c in first]
    assert scores == sorted(scores, reverse=True)
    before = {c["id"]: c["score"] for c in plain["candidates"]}
    for candidate in first:
        assert 0 <= candidate["probe"] <= 1
        assert candidate["score"] == pytest.approx(before[candidate["id"]] + candidate["terms"]["probe"], abs=1e-5)
    assert max(first, key=lambda c: c["terms"]["probe"])["probe"] == max(c["probe"] for c in first)
    assert probed["seconds"]["probe"] > 0 == plain["seconds"]["probe"] // 1


def test_a_probe_needs_labels(nns, small_zoo, tmp_path):
    for path in small_zoo.query.glob("*/*.png"):
        shutil.copy(path, tmp_path / f"{path.parent.name}-{path.name}")
    done = nns("search", tmp_path, "--zoo", small_zoo.path, "--probe")
    assert (done.code, done.out) == (2, "")
    assert "labelled" in done.err and len(done.err.splitlines()) == 1


def test_an_explanation_names_datasets_parts_and_the_gain(nns, small_zoo):
    done = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--explain", "--probe")
    assert (done.code, done.err) == (0, "")
    found = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json").json
    for neighbour in found["neighbours"]:
        assert neighbour["dataset"] in done.out
        assert 0 <= neighbour["distance"] <= 2
    for part in ("prior", "space", "probe", "static choice", "nns choice"):
        assert part in done.out


def test_every_candidate_is_within_the_limits_with_its_head(search, small_zoo):
    from nns import Zoo

    found = search("--max-params", "1M", "--max-macs", "5M", "--max-size", "4MB", "--top", 50).json
    assert 0 < found["feasible"] == len(found["candidates"]) < 12
    assert (found["limits"]["max_params"], found["limits"]["max_size"]) == (1_000_000, 4_000_000)
    with Zoo(small_zoo.path) as zoo:
        for candidate in found["candidates"]:
            cost = zoo.network(candidate["id"]).entry.cost
            assert candidate["params"] == cost.body_params + 2 * (cost.feature_dim + 1) <= 1_000_000
            assert candidate["macs"] == cost.body_macs + 2 * cost.feature_dim <= 5_000_000
            assert candidate["bytes"] == cost.body_bytes + 8 * (cost.feature_dim + 1) <= 4_000_000


def test_backend_and_license_limit(search):
    assert {c["backend"] for c in search("--backend", "ofa").json["candidates"]} == {"ofa"}
    assert search("--license", "apache-2.0").json["feasible"] == 12


def test_a_limit_nothing_meets_names_the_nearest_that_works(search):
    done = search("--max-params", "1k", "--max-macs", "1k")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("error: no network within the limits; the nearest limit that has one: --max-params ")
    nearest = done.err.split("has one: ")[1].split()
    assert [word for word in nearest if word.startswith("--")] == ["--max-params", "--max-macs"]
    assert 1 <= search(*nearest).json["feasible"] < 12


@pytest.mark.parametrize("limit", ["--max-params", "--max-macs", "--max-size"])
def test_the_nearest_limit_of_each_kind_works(limit, search):
    done = search(limit, "10")
    assert done.code == 5
    assert search(*done.err.split("has one: ")[1].split()).json["feasible"] >= 1


def test_latency_is_measured_and_limits(nns, small_zoo, tmp_path):
    zoo = small_zoo.copy(tmp_path)
    call = ("search", small_zoo.query, "--zoo", zoo, "--json", "--backend", "example", "--max-latency")
    done = nns(*call, "10s")
    assert (done.code, done.err) == (0, "")
    assert all(0 < c["latency_ms"] < 10_000 for c in done.json["candidates"])
    assert nns("zoo", "info", zoo, "--json").json["devices"] != []
    done = nns(*call, "1us")
    assert (done.code, done.out) == (5, "")
    nearest = parse_latency(done.err.rsplit(maxsplit=1)[1])
    assert nns(*call, f"{4e3 * nearest}ms").json["feasible"] >= 1  # it is measured again, and the machine is shared


def test_a_flat_folder_is_searched_with(nns, small_zoo, tmp_path):
    for path in small_zoo.query.glob("*/*.png"):
        shutil.copy(path, tmp_path / f"{path.parent.name}-{path.name}")
    done = nns("search", tmp_path, "--zoo", small_zoo.path, "--json", "--max-params", "1M", "--classes", 7)
    assert (done.code, done.err) == (0, "")
    assert (done.json["dataset"]["classes"], done.json["dataset"]["images"]) == (None, 48)
    assert nns("search", tmp_path, "--zoo", small_zoo.path).out.count("unlabelled") == 1


def test_a_file_that_is_no_image_is_skipped_counted_and_named(nns, small_zoo, write_digits, tmp_path):
    data = write_digits(tmp_path / "data", (8, 9), per_class=6)
    (data / "8" / "letter.png").write_text("Dear Sir or Madam")
    done = nns("search", data, "--zoo", small_zoo.path, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["dataset"]["images"] == 13
    (skipped,) = done.json["dataset"]["skipped"]
    assert skipped["path"] == "8/letter.png"
    assert skipped["reason"]
    done = nns("search", data, "--zoo", small_zoo.path)
    assert done.err.startswith("skipped 8/letter.png: ")
    assert len(done.err.splitlines()) == 1


def test_the_zoo_of_the_environment(nns, small_zoo, monkeypatch):
    monkeypatch.setenv("NNS_ZOO", str(small_zoo.path))
    done = nns("search", small_zoo.query)
    assert (done.code, done.err) == (0, "")
    assert "12 of 12 networks meet the limits" in done.out
    assert "Blind to your images" in done.out
