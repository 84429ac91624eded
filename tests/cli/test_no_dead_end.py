"""Each message's next step, taken to its end: what a message names is run, and then what failed is run again."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from pathlib import Path

import pytest

import nns as library
from nns.testing import tiny_image_folder

PACKAGE = Path(str(library.__file__)).parent
NAMED = re.compile(r"[`']nns ([^`']+)[`']")
STEPS = 6


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with ./mydata, ./birds and ./tiles, and a history of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNS_HISTORY", str(tmp_path / "history.jsonl"))
    for seed, name in enumerate(("mydata", "birds", "tiles")):
        tiny_image_folder(tmp_path / name, classes=2, per_class=8, seed=seed)
    return tmp_path


SMALL = ["--epochs", "1", "--image-size", "32"]
FILLED = {
    "zoo build": [
        "--data",
        "birds",
        "--data",
        "tiles",
        "--backend",
        "example",
        "--networks",
        "4",
        "--workers",
        "0",
        *SMALL,
    ],
    "space fit": ["--epochs", "5", "--no-held-out"],
    "finetune": [*SMALL, "--try", "1", "--device", "cpu"],
}
"""What a user adds to a command that a message names."""


@pytest.fixture
def walk(nns):
    """Run a command until it succeeds, each time after the step that its message names; return the steps."""

    def run(*words, fill=FILLED, depth=0):
        steps = []
        for _ in range(STEPS):
            done = nns(*words)
            if done.code == 0:
                return steps
            found = NAMED.search(done.err)
            assert found, f"nns {shlex.join(map(str, words))} is a dead end: {done.err}"
            step = shlex.split(found[1])
            assert step not in steps, f"{step} was taken and changed nothing: {done.err}"
            steps.append(step)
            assert depth < STEPS
            run(*_filled(step, fill), fill=fill, depth=depth + 1)
        raise AssertionError(f"no end after {steps}")

    return run


def _filled(step, fill):
    name = " ".join(step[:2]) if " ".join(step[:2]) in fill else step[0]
    more = fill.get(name, [])
    if name == "zoo build" and len(step) == 2:
        step = [*step, "zoo.h5"]
    return [*step, *more]


@pytest.mark.parametrize("verb", ["search", "finetune"])
def test_with_a_zoo_that_is_not_there(walk, place, verb):
    more = FILLED["finetune"] if verb == "finetune" else []
    steps = walk(verb, "mydata", "--zoo", "new.h5", *more)
    assert next(step[:2] for step in steps) == ["zoo", "build"]


@pytest.mark.parametrize("verb", ["search", "finetune"])
def test_without_any_zoo(cuts, walk, place, monkeypatch, verb):
    more = FILLED["finetune"] if verb == "finetune" else []
    # the starter zoo where it is installed, else the networks that are installed with their packages
    monkeypatch.delenv("NNS_ZOO", raising=False)
    assert walk(verb, "mydata", "--offline", "--max-params", "1M", *more) == []


def test_a_folder_without_a_fine_tuned_network(walk, nns, place, plain_zoo):
    zoo = plain_zoo.copy(place)
    network = nns("zoo", "ls", zoo, "--json").json["networks"][0]["id"]
    image = next((place / "mydata").rglob("*.png"))
    (place / "model").mkdir()
    done = nns("predict", "model", image)
    assert done.code == 2
    assert NAMED.search(done.err)[1] == "finetune"
    (place / "model").rmdir()
    assert nns("finetune", "mydata", "--zoo", zoo, "--network", network, "-o", "model", *FILLED["finetune"]).code == 0
    assert walk("predict", "model", image) == []


def test_no_space_is_fitted_yet(nns, walk, place, plain_zoo):
    zoo = plain_zoo.copy(place)
    done = nns("space", "show", zoo)
    (step,) = NAMED.findall(done.err)
    walk(*_filled(shlex.split(step), FILLED))
    assert nns("space", "show", zoo, "--json").json["spaces"]
    assert walk("search", "mydata", "--zoo", zoo) == []


def test_the_nearest_limit_has_a_network(search):
    done = search("--max-params", 1)
    assert done.code == 5
    assert search("--max-params", re.search(r"--max-params (\S+)", done.err)[1]).code == 0


def test_what_is_no_search_result(nns, place, plain_zoo):
    zoo = plain_zoo.copy(place)
    (place / "found.json").write_text("{}")
    finetune = ("finetune", "mydata", "--zoo", zoo, "--from", "found.json", *FILLED["finetune"])
    done = nns(*finetune)
    assert NAMED.search(done.err)[1] == "search --json"
    assert nns("space", "fit", zoo, *FILLED["space fit"]).code == 0
    (place / "found.json").write_text(nns("search", "mydata", "--zoo", zoo, "--json").out)
    assert nns(*finetune).code == 0


def test_a_history_file_that_is_not_there(nns, place, plain_zoo):
    zoo = plain_zoo.copy(place)
    fit = ("space", "fit", zoo, "--history", "team.jsonl", *FILLED["space fit"])
    done = nns(*fit)
    step = shlex.split(NAMED.search(done.err)[1].replace("FILE", "team.jsonl"))
    assert nns(*step).code == 0
    assert nns(*fit).code == 0


def test_images_that_cannot_be_read(nns, place, plain_zoo):
    shutil.rmtree(place / "mydata")
    for name in ("a", "b"):
        (place / "mydata" / name).mkdir(parents=True)
        for number in range(8):
            (place / "mydata" / name / f"{number}.png").write_bytes(b"no image")
    zoo = plain_zoo.copy(place)
    assert nns("space", "fit", zoo, *FILLED["space fit"]).code == 0
    done = nns("search", "mydata", "--zoo", zoo)
    assert done.code == 3
    said = nns(*shlex.split(NAMED.search(done.err)[1]), "mydata")
    assert "0.png" in said.out


ONE = ["zoo", "build", "one.h5", "--data", "birds", "--backend", "example", "--networks", "2", "--workers", "0", *SMALL]


def test_a_zoo_of_one_dataset_says_before_what_it_is_for(nns, walk, place):
    done = nns(*ONE)
    assert done.code == 0, done.err
    assert done.err.index("one dataset") == 0  # before anything is trained
    assert walk("finetune", "mydata", "--zoo", "one.h5", "--network", _first(nns), *FILLED["finetune"]) == []
    assert "one dataset" not in nns(*ONE, "--data", "tiles").err


def _first(nns):
    return nns("zoo", "ls", "one.h5", "--json").json["networks"][0]["id"]


def test_a_zoo_of_one_dataset_is_searched_by_what_is_known_at_large(nns, place):
    assert nns(*ONE).code == 0
    assert nns("search", "mydata", "--zoo", "one.h5").code == 0


def test_every_command_that_a_text_names_is_there(nns):
    known: dict[str, bool] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for text in re.findall(r"[`'] ?nns ((?:[a-z-]+ ?)+)", node.value):
                    known.setdefault(" ".join(text.split()[:2]), True)
    assert {"zoo build", "space fit"} <= set(known)
    for text in known:
        words = text.split()
        alone = nns(words[0], "--help")
        assert alone.code == 0, text
        if words[0] in {"zoo", "space", "history", "bench", "repro"} and len(words) > 1:
            assert nns(*words, "--help").code == 0, text
