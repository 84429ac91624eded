"""``nns finetune``, and what is done with its result: ``predict`` and ``export``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from nns.data import Dataset
from nns.finetuning import choosing
from nns.finetuning._run import Run
from nns.searching import ranking

DOCUMENT = {"network", "params", "val_accuracy", "test_accuracy", "epochs", "seconds", "device", "output", "history"}
DOCUMENT |= {"tried", "left_out"} | {"backend", "architecture", "macs", "bytes", "image_size", "interrupted", "skipped"}
DOCUMENT |= {"dataset", "macro_f1", "calibration", "only_class", "threads", "taught_by"}
EPOCH = {"val_macro_f1", "epoch", "train_loss", "val_loss", "val_accuracy"}
TRIED = {"network", "val_accuracy", "epochs", "stopped", "rungs"}


@pytest.fixture
def finetune(nns, small_zoo, tmp_path):
    """Fine-tune on the query dataset, by default the example backend's networks, for as few epochs as can be."""

    def run(*arguments, limits=("--backend", "example")):
        return nns(
            "finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", tmp_path / "model", "--device", "cpu",
            "--json", *limits, *arguments,
        )  # fmt: skip

    return run


def test_from_search_to_prediction(finetune, search, nns, small_zoo, tmp_path):
    (tmp_path / "search.json").write_text(search("--backend", "example").out)
    done = finetune("--from", tmp_path / "search.json", "--try", 1, "--epochs", 1, limits=())
    assert (done.code, done.err) == (0, "")
    found = done.json
    assert set(found) == DOCUMENT
    assert [set(epoch) for epoch in found["history"]] == [EPOCH]
    assert [set(tried) for tried in found["tried"]] == [TRIED]
    best = json.loads((tmp_path / "search.json").read_text())["candidates"][0]
    assert (found["network"], found["params"], found["epochs"]) == (best["id"], best["params"], 1)
    assert 0 <= found["val_accuracy"] <= 1
    assert 0 <= found["test_accuracy"] <= 1
    assert (found["device"], found["output"], found["interrupted"]) == ("cpu", str(tmp_path / "model"), False)

    done = nns("predict", tmp_path / "model", small_zoo.image, __file__, "--json")
    assert (done.code, done.err) == (0, "")
    (prediction,) = done.json["predictions"]
    assert prediction["path"] == str(small_zoo.image)
    assert prediction["label"] in {"8", "9"}
    assert sum(top["probability"] for top in prediction["top"]) == pytest.approx(1, abs=1e-4)
    assert [skipped["path"] for skipped in done.json["skipped"]] == [__file__]
    assert small_zoo.image.name in nns("predict", tmp_path / "model", small_zoo.image).out

    done = nns("export", tmp_path / "model", "--format", "safetensors", "-o", tmp_path / "net.safetensors", "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["format"], done.json["output"]) == ("safetensors", str(tmp_path / "net.safetensors"))
    assert (tmp_path / "net.safetensors").stat().st_size > found["bytes"]
    done = nns("export", tmp_path / "model", "--format", "onxx")
    assert (done.code, len(done.err.splitlines())) == (2, 1)


def test_predict_says_so_if_no_image_can_be_read(finetune, nns, tmp_path):
    assert finetune("--try", 1, "--epochs", 1).code == 0
    done = nns("predict", tmp_path / "model", __file__)
    assert (done.code, done.out) == (3, "")
    assert "error: none of the 1 images could be read" in done.err


def test_several_are_tried_and_the_test_split_is_absent_where_there_is_none(nns, small_zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "TELLING", 16)
    for split, numbers in (("train", range(12)), ("val", range(12, 20))):
        for digit in "89":
            (tmp_path / "data" / split / digit).mkdir(parents=True)
            for number in numbers:
                shutil.copy(small_zoo.query / digit / f"{number:03d}.png", tmp_path / "data" / split / digit)
    (tmp_path / "data" / "train" / "8" / "letter.png").write_text("Dear Sir or Madam")
    done = nns(
        "finetune", tmp_path / "data", "--zoo", small_zoo.path, "-o", tmp_path / "model", "--json",
        "--max-params", "300k", "--try", 2, "--epochs", 2, "--device", "cpu",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.json["test_accuracy"] is None
    assert [skipped["path"] for skipped in done.json["skipped"]] == ["train/8/letter.png"]
    assert sorted(tried["stopped"] for tried in done.json["tried"]) == ["finished", "halved"]
    assert done.json["params"] <= 300_000


def test_too_few_validation_images_try_one_and_say_why(nns, small_zoo, tmp_path):
    done = nns("finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", tmp_path / "model", "--json", "--max-params",
               "300k", "--try", 2, "--epochs", 1, "--device", "cpu")  # fmt: skip
    assert done.code == 0, done.err
    assert len(done.json["tried"]) == 1
    validation = len(Dataset.open(str(small_zoo.query)).splits_at(32)[0].val)
    assert validation < choosing.TELLING
    said = f"trying one network, not 2: {validation} validation images cannot tell which is better, "
    assert f"{said}{choosing.TELLING} could" in done.err


def test_the_input_is_larger_where_images_have_detail_unless_macs_are_limited(nns, small_zoo, tmp_path):
    for digit in "89":
        (tmp_path / "data" / digit).mkdir(parents=True)
        for number in range(10):
            with Image.open(small_zoo.query / digit / f"{number:03d}.png") as image:
                image.resize((64, 64)).save(tmp_path / "data" / digit / f"{number}.png")
    common = ("finetune", tmp_path / "data", "--zoo", small_zoo.path, "--epochs", 1, "--json", "--device", "cpu")
    own = nns("search", tmp_path / "data", "--zoo", small_zoo.path, "--json").json["candidates"][0]["macs"]
    larger = nns(*common, "-o", tmp_path / "larger").json
    limited = nns(*common, "-o", tmp_path / "limited", "--max-macs", 10 * own).json
    assert larger["image_size"] == 96
    assert limited["image_size"] == 32
    assert larger["macs"] > 4 * limited["macs"] or larger["network"] != limited["network"]


def test_the_table_says_what_to_do_next(nns, small_zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNS_ZOO", str(small_zoo.path))
    done = nns("finetune", small_zoo.query, "--backend", "example", "--try", 1, "--epochs", 1)
    assert done.code == 0
    assert f"Next: nns predict {tmp_path / 'digits-89-nns'} IMAGE..." in done.out
    assert f"Next: nns evaluate {tmp_path / 'digits-89-nns'} {small_zoo.query}" in done.out
    assert done.err.startswith("trying ")
    assert (tmp_path / "digits-89-nns" / "model.safetensors").is_file()


def test_the_same_seed_gives_the_same_network(finetune):
    documents = [finetune("--try", 1, "--epochs", 2, "--seed", 5).json for _ in range(2)]
    assert documents[0]["history"] == documents[1]["history"]


def interrupt_at(monkeypatch, number):
    train_epoch = Run.train_epoch

    def interrupted(run, epoch, *arguments, **more):
        if epoch == number:
            raise KeyboardInterrupt
        return train_epoch(run, epoch, *arguments, **more)

    monkeypatch.setattr(Run, "train_epoch", interrupted)


def test_an_interrupt_keeps_the_best_and_exits_with_130(finetune, nns, small_zoo, tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 2)
    done = finetune("--try", 1, "--epochs", 5)
    assert (done.code, done.json["interrupted"], done.json["epochs"]) == (130, True, 1)
    assert "the best so far was kept" in done.err
    monkeypatch.undo()
    assert nns("predict", tmp_path / "model", small_zoo.image, "--json").json["predictions"]


def test_an_interrupt_before_there_is_anything_to_keep(finetune, tmp_path, monkeypatch):
    from nns import Dataset

    def interrupt(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Dataset, "decode_sample", interrupt)
    done = finetune("--epochs", 1)
    assert (done.code, done.out, done.err) == (130, "", "error: interrupted\n")
    assert not (tmp_path / "model").exists()


def test_networks_of_the_zoo_by_name(finetune, search):
    chosen = [candidate["id"] for candidate in search("--backend", "example").json["candidates"]][:2]
    done = finetune("--network", chosen[0][:8], "--network", chosen[1], "--epochs", 1, limits=())
    assert {tried["network"] for tried in done.json["tried"]} == set(chosen)


@pytest.mark.slow
def test_the_backends_that_need_more_time(finetune):
    for backend in ("ofa", "timm"):
        done = finetune("--try", 1, "--epochs", 1, limits=("--backend", backend, "--max-params", "5M"))
        assert (done.code, done.err, done.json["backend"]) == (0, "", backend)


def test_a_recipe_by_name_and_what_the_command_line_puts_in_its_place(nns, small_zoo, tmp_path):
    command = ["finetune", small_zoo.query, "--zoo", small_zoo.path, "--try", 1, "--device", "cpu", "--json"]
    done = nns(*command, "--recipe", "tans", "--epochs", 1, "--lr", 0.02, "-o", tmp_path / "model")
    assert done.code == 0
    card = json.loads((tmp_path / "model" / "card.json").read_text(encoding="utf-8"))
    recipe = card["recipe"]
    assert (recipe["optimizer"], recipe["lr"], recipe["weight_decay"], recipe["epochs"]) == ("sgd", 0.02, 4e-5, 1)
    done = nns(*command, "--recipe", "tan", "-o", tmp_path / "other")
    assert (done.code, done.out) == (2, "")
    assert "unknown recipe 'tan'; did you mean 'tans'?" in done.err
    assert not (tmp_path / "other").exists()


def test_a_page_of_what_came_out(finetune, tmp_path):
    page = tmp_path / "page.html"
    done = finetune("--try", 1, "--epochs", 1, "--report", page)
    assert done.code == 0
    assert f"wrote {page}" in done.err
    text = page.read_text(encoding="utf-8")
    assert "the test split" in text
    assert "Classes, hardest first" in text
    assert finetune("--report", tmp_path / "no" / "page.html").code == 2


def test_a_log_beside_the_network(finetune, tmp_path):
    assert finetune("--try", 1, "--epochs", 2, "--log-to", "csv").code == 0
    assert len((tmp_path / "model-log" / "log.csv").read_text().splitlines()) == 3
    done = finetune("--try", 1, "--epochs", 2, "--log-to", "wandb")
    assert (done.code, done.err) == (
        2, "error: --log-to must be tensorboard or csv, as it is or with =DIR, not 'wandb'\n"
    )  # fmt: skip


def test_a_network_teaches_those_that_fit(finetune, nns, small_zoo, tmp_path):
    rows = sorted(
        nns("zoo", "ls", small_zoo.path, "--backend", "example", "--json").json["networks"], key=lambda n: n["params"]
    )
    small, large = rows[0]["id"], rows[-1]["id"]
    shutil.copytree(small_zoo.query, tmp_path / "more")
    done = finetune("--network", small, "--teacher", large, "--unlabelled", tmp_path / "more", "--epochs", 1, limits=())
    assert (done.code, done.err) == (0, "")
    taught = done.json["taught_by"]
    assert (done.json["network"], taught["network"], taught["architecture"]) == (small, large, rows[-1]["architecture"])
    assert taught["unlabelled"] > 0
    assert json.loads((tmp_path / "model" / "card.json").read_text())["taught_by"] == taught
    assert large in (tmp_path / "model" / "README.md").read_text()
    assert [tried["network"] for tried in done.json["tried"]] == [small]
    assert not list(tmp_path.glob(".*unfinished"))


def test_distill_lets_the_best_of_all_sizes_teach(finetune, search):
    smallest = min(search("--top", 100).json["candidates"], key=lambda candidate: candidate["params"])
    # the limit is for what is handed over, not for the teacher
    done = finetune("--max-params", smallest["params"], "--distill", "--try", 1, "--epochs", 1, limits=())
    assert (done.code, done.json["params"]) == (0, smallest["params"])
    teacher = done.json["taught_by"]["network"]
    assert teacher != done.json["network"]
    done = finetune("--network", teacher, "--distill", "--epochs", 1, limits=())
    assert (done.code, done.json["taught_by"]) == (0, None)
    assert "nothing teaches it" in done.err


def test_images_without_labels_are_for_a_teacher(finetune, small_zoo):
    done = finetune("--unlabelled", small_zoo.query, "--try", 1, "--epochs", 1)
    assert (done.code, done.out) == (2, "")
    assert "--unlabelled" in done.err
    assert "--distill" in done.err


def test_a_search_in_a_file_is_tried_as_one_that_has_just_been_made(nns, search, small_zoo, tmp_path):
    """Limits on MACs hold for the input that they were counted at, and few images try one network."""
    found = search("--max-macs", "1G")
    (tmp_path / "search.json").write_text(found.out)
    done = nns("finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", tmp_path / "model", "--json", "--device",
               "cpu", "--from", tmp_path / "search.json", "--try", 2, "--epochs", 1)  # fmt: skip
    assert done.code == 0, done.err
    assert (len(done.json["tried"]), done.json["macs"]) == (1, found.json["candidates"][0]["macs"])
    assert "trying one network, not 2" in done.err


def test_a_network_that_is_named_beside_limits_must_meet_them(finetune, search, tmp_path):
    best = search("--backend", "example").json["candidates"][0]
    for limit in (
        ("--max-params", best["params"] - 1),
        ("--max-macs", best["macs"] - 1),
        ("--backend", "timm"),
    ):
        done = finetune("--network", best["id"], "--epochs", 1, limits=limit)
        assert (done.code, done.out) == (5, ""), done.err
        assert best["id"][:10] in done.err
    assert not (tmp_path / "model").exists()
    assert finetune("--network", best["id"], "--epochs", 1, limits=("--max-params", best["params"])).code == 0


def test_a_named_network_must_meet_a_limit_of_latency(nns, small_zoo, search, tmp_path):
    best = search("--backend", "example").json["candidates"][0]
    zoo = small_zoo.copy(tmp_path)  # it keeps what is measured
    for limit, more in (("1us", ()), ("5ms", ("--image-size", 1024))):
        done = nns("finetune", small_zoo.query, "--zoo", zoo, "-o", tmp_path / "model", "--network", best["id"],
                   "--max-latency", limit, "--epochs", 1, "--device", "cpu", *more)  # fmt: skip
        assert (done.code, done.out) == (5, ""), done.err
        assert best["id"][:10] in done.err


def test_a_network_that_has_learned_nothing_says_so(finetune, nns, small_zoo, tmp_path):
    done = finetune("--epochs", 1, "--lr", 1e-9, "--head-only")
    assert done.json["only_class"] in {"8", "9"}, done.json
    seen = nns("finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", tmp_path / "again", "--epochs", 1, "--lr",
               1e-9, "--head-only", "--device", "cpu", "--max-params", "300k")  # fmt: skip
    said = f"It says {done.json['only_class']!r} of every validation image: it has learned nothing yet."
    assert said in " ".join(seen.out.split()), seen.out


def test_beside_a_limit_that_the_first_miss_at_a_given_size_later_ones_are_tried(finetune, search, monkeypatch):
    small, *_, large = sorted(search().json["candidates"], key=lambda row: row["macs"])
    assert small["macs"] < large["macs"]
    real = ranking.search

    def largest_first(*data, top=10, **more):  # as where ten that are too large come before the first that is not
        found = real(*data, top=100, **more)
        ranked = tuple(sorted(found.candidates, key=lambda each: -each.macs))
        return replace(found, candidates=ranked[:1] if top == 10 else ranked, together=ranked[:1])

    monkeypatch.setattr(ranking, "search", largest_first)
    most = (small["macs"] + large["macs"]) * 2  # at 64 px, twice the side, four times the MACs
    done = finetune("--epochs", 1, "--image-size", 64, limits=("--max-macs", most))
    assert (done.code, done.json["image_size"]) == (0, 64), done.err
    assert done.json["network"] != large["id"] and done.json["macs"] <= most


def test_an_input_size_beside_limits_of_macs_and_latency_must_meet_them(finetune, search, tmp_path):
    best = search("--backend", "example").json["candidates"][0]
    own = ("--max-macs", best["macs"])
    for given in ((), ("--network", best["id"])):
        done = finetune(*given, "--epochs", 1, "--image-size", 64, limits=own)
        assert (done.code, done.out) == (5, ""), done.err
        assert "at --image-size 64 it takes" in done.err
        assert "leave --image-size out" in done.err
    assert not (tmp_path / "model").exists()
    more = finetune("--network", best["id"], "--epochs", 1, "--image-size", 64, limits=("--max-macs", "1G"))
    assert (more.code, more.json["image_size"]) == (0, 64), more.err
    assert more.json["macs"] > best["macs"]
    smaller = finetune("--epochs", 1, "--image-size", 64, limits=("--max-macs", more.json["macs"] - 1))
    assert (smaller.code, smaller.json["image_size"]) == (0, 64), smaller.err
    assert smaller.json["macs"] < more.json["macs"], "the search's first does not fit at that size, another does"


def test_an_interrupted_run_goes_on_with_what_was_chosen_for_it(finetune, monkeypatch):
    """The search looks at what the user's history holds and has time for, and both are others by then."""
    interrupt_at(monkeypatch, 3)
    before = finetune("--epochs", 4)
    assert (before.code, before.json["epochs"]) == (130, 2)
    monkeypatch.undo()
    monkeypatch.setattr("nns.searching.ranking.search", lambda *_, **__: pytest.fail("searched again"))
    after = finetune("--epochs", 4)
    assert (after.code, after.json["network"]) == (0, before.json["network"]), after.err
    assert after.json["history"][:2] == before.json["history"]
    assert "going on where an interrupted run stopped" in after.err
    monkeypatch.undo()
    assert "going on" not in finetune("--epochs", 4).err
