"""Locks of what a team has: a zoo that is there, a recipe, a network handed over; and what a stranger's lock may do."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nns.building import write_build_file
from nns.errors import DatasetError, NnsError, ReproError, UsageError, ZooError
from nns.repro import DIGITS, FineTuneSettings, ReproSettings, StageRecord, check, read_lock, record, update
from nns.repro.digits import write_digits
from nns.repro.idle import refuse_idle
from nns.repro.reports import LISTED, github_lines, junit, summary
from nns.repro.stages import ZOO_FILE

BUILD = replace(DIGITS, data=("digits:01", "digits:23"), backends=("timm:lcnet_050",), networks=2, max_images=72)
BUILD = replace(BUILD, epochs=20)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A zoo of two networks with a space, and folders of digits beside it; files of a team."""
    folder = tmp_path_factory.mktemp("team")
    settings = ReproSettings(build=BUILD, queries=("digits:45",), space_epochs=10)
    record(folder / "unused.json", settings, workers=0, work=folder / "work")
    (folder / "work" / ZOO_FILE).rename(folder / "team.h5")
    shutil.rmtree(folder / "work")
    for data in ("digits:45", "digits:678"):
        write_digits(data, folder)
    (folder / "team.toml").write_text(write_build_file(replace(BUILD, data=("digits-45", "digits-678"))))
    return folder


@pytest.fixture
def team(built, tmp_path, monkeypatch):
    """A copy to change, and the current folder."""
    folder = tmp_path / "team"
    shutil.copytree(built, folder)
    monkeypatch.chdir(folder)
    return folder


def of_zoo(**more):
    return ReproSettings(**{"zoo": "team.h5", "queries": ("digits-45", "digits-678"), **more})


@pytest.fixture(scope="module")
def zoo_lock(built):
    before = Path.cwd()
    os.chdir(built)
    try:
        record(Path("lock.json"), of_zoo(), workers=0)
    finally:
        os.chdir(before)
    return built / "lock.json"


@pytest.fixture
def lock(zoo_lock, team):
    return Path(shutil.copy(zoo_lock, team / "lock.json"))


def differences(report, stage):
    return next(each for each in report.stages if each.stage == stage).differences


def test_a_zoo_that_is_there(lock):
    found = read_lock(lock)
    assert found.settings.zoo == "team.h5"
    assert [each.stage for each in found.stages] == ["data", "zoo", "search"]
    report = check(lock)
    assert report.ok
    assert report.not_run == ()
    assert all(stage.seconds > 0 for stage in report.stages)
    search = found.stages[-1]
    assert {"digits-45: rank 1", "digits-678: rank 2", "digits-45: static choice"} <= set(search.exact)


def test_nothing_is_written_beside_or_into_the_zoo(lock, team):
    before = {path: path.read_bytes() for path in team.rglob("*") if path.is_file()}
    assert check(lock, stages=["data", "zoo", "search"]).ok
    assert {path: path.read_bytes() for path in team.rglob("*") if path.is_file()} == before


def test_images_that_changed_are_named_with_their_class(lock, team):
    images = sorted((team / "digits-45" / "4").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:-1] + b"\7")
    images[1].unlink()
    images[2].rename(images[2].with_name("other.pgm"))  # what an image is called is no content
    images[3].rename(team / "digits-45" / "5" / images[3].name)
    (images[4].parent / "new.pgm").write_bytes(images[4].read_bytes()[:-1] + b"\1")
    shutil.move(team / "digits-678" / "8", team / "digits-678" / "eight")
    report = check(lock)
    assert differences(report, "data")[:7] == (
        f"query digits-45: class 4: image 4/{images[0].name} changed",
        f"query digits-45: class 4: image 4/{images[1].name} is gone",
        f"query digits-45: class 4: image 4/{images[3].name} is now in class 5",
        "query digits-45: class 4: image 4/new.pgm is new",
        f"query digits-45: class 5: image 5/{images[3].name} was in class 4",
        "query digits-678: class 8 (36 images) is gone",
        "query digits-678: class eight (36 images) is new",
    )
    assert report.not_run == ("zoo", "search")
    with pytest.raises(ReproError, match=r"stage data differs.*class 4: image 4/\d+.pgm changed"):
        report.raise_if_differs()


def test_of_many_images_the_class_is_named(team, monkeypatch):
    from nns.repro import images

    monkeypatch.setattr(images, "MOST_IMAGES", 10)
    record(Path("small.json"), of_zoo(stages=("data",)))
    document = Path("small.json").read_text()
    assert "36 images" in document
    assert "4/" not in document
    next((team / "digits-45" / "5").iterdir()).unlink()
    (first, *_) = differences(check(Path("small.json")), "data")
    assert first == "query digits-45: class 5: image 36 images is gone"


def test_a_damaged_zoo_is_an_error_of_its_stage(lock, team):
    zoo = team / "team.h5"
    content = bytearray(zoo.read_bytes())
    content[len(content) // 2] ^= 0xFF
    zoo.write_bytes(content)
    report = check(lock)
    assert [each.stage for each in report.stages] == ["data", "zoo"]
    assert isinstance(report.stages[-1].error, ZooError)
    assert report.not_run == ("search",)
    with pytest.raises(ZooError, match=r"team.h5 is damaged"):
        report.raise_if_differs()


def test_a_zoo_that_changed(lock, team):
    from nns.zoo import Zoo

    with Zoo(team / "team.h5") as zoo:
        gone = zoo.store.ids()[0]
        zoo.store.remove([gone])
        zoo.store.merge()
    report = check(lock)
    assert "networks: 2 is now 1" in differences(report, "zoo")
    assert any(each.startswith(f"network {gone} (") and each.endswith("is gone") for each in differences(report, "zoo"))


def test_how_far_ranks_and_scores_moved(lock):
    document = json.loads(lock.read_text())
    search = document["stages"]["search"]
    exact, scores = search["exact"], search["numbers"]["score"]
    first, second = exact["digits-45: rank 1"], exact["digits-45: rank 2"]
    exact |= {"digits-45: rank 1": second, "digits-45: rank 2": first}
    scores[f"digits-45: {first}"] -= 0.5
    lock.write_text(json.dumps(document))
    report = check(lock)
    (stage,) = (each for each in report.stages if not each.ok)
    assert stage.moved == (
        f"digits-45: ranks: 2 of 2 networks moved, by up to 1; the first was {second} and is {first}",
        "score: 1 of 4 values moved, by 0.5 in the mean, 0.5 at most",
    )
    with pytest.raises(ReproError, match=r"ranks: 2 of 2 networks moved"):
        report.raise_if_differs()


def test_of_a_zoo_that_is_there_scores_hardly_move_in_another_environment(lock):
    document = json.loads(lock.read_text())
    document["environment"]["torch"] = "0.1"
    lock.write_text(json.dumps(document))
    assert check(lock).ok
    scores = document["stages"]["search"]["numbers"]["score"]
    scores[next(iter(scores))] += 0.05
    lock.write_text(json.dumps(document))
    assert not check(lock).ok


def test_versions_are_differences_of_a_strict_check(lock):
    document = json.loads(lock.read_text())
    document["environment"] |= {"torch": "0.1", "backend example": "nns-example==0.0.1", "cpu": "Z80"}
    lock.write_text(json.dumps(document))
    report = check(lock)
    assert report.ok
    assert report.environment["backend example"] == ("nns-example==0.0.1", f"nns-example=={version('nns-example')}")
    report = check(lock, strict=True)
    assert [each.stage for each in report.stages] == ["environment"]
    assert differences(report, "environment") == (
        f"backend example: nns-example==0.0.1 is now nns-example=={version('nns-example')}",
        f"torch: 0.1 is now {version('torch')}",
    )
    assert report.not_run == ("data", "zoo", "search")
    report = check(lock, strict=True, keep_going=True)
    assert [each.ok for each in report.stages] == [False, True, True, True]


def test_the_plugin_that_is_gone_is_named(lock):
    document = json.loads(lock.read_text())
    document["environment"]["backend acme"] = "acme-nets==0.2"
    lock.write_text(json.dumps(document))
    assert check(lock, stages=["data"]).environment == {"backend acme": ("acme-nets==0.2", "")}


def test_some_stages_only(lock, team):
    shutil.rmtree(team / "digits-45")
    assert check(lock, stages=["zoo"]).ok
    for stages, what in [
        (["build"], "nothing is built"),
        (["finetune"], "needs stage search"),
        (["x"], "unknown stage"),
    ]:
        with pytest.raises(UsageError, match=what):
            check(lock, stages=stages)
    with pytest.raises(UsageError, match="the lock has no stage fit"):
        check(lock, stages=["fit"])


def test_a_fit_to_a_zoo_that_is_there_is_not_kept(team):
    before = (team / "team.h5").read_bytes()
    record(Path("fit.json"), of_zoo(stages=("fit",), space_epochs=10))
    assert check(Path("fit.json")).ok
    assert (team / "team.h5").read_bytes() == before
    report = check(Path("fit.json"), seed=3)
    assert "settings" in differences(report, "fit")[0]


def test_what_is_handed_over(team):
    settings = of_zoo(queries=("digits-45",), finetune=FineTuneSettings(epochs=1))
    record(Path("tuned.json"), settings)
    tuned, exported = read_lock(Path("tuned.json")).stages[-2:]
    assert (tuned.stage, exported.stage) == ("finetune", "export")
    assert tuned.facts["architecture"] == "timm:lcnet_050"
    assert {"network", "cost", "recipe: lr", "recipe: epochs"} <= set(tuned.facts)
    assert {"validation accuracy", "test accuracy", "macro F1"} == set(tuned.numbers["fine-tuned accuracy"])
    assert exported.facts == {"safetensors": "written"}
    assert check(Path("tuned.json")).ok
    report = check(Path("tuned.json"), seed=5, stage="finetune")
    (stage,) = (each for each in report.stages if not each.ok)
    assert stage.stage == "finetune"
    assert report.not_run == ("export",)
    document = json.loads(Path("tuned.json").read_text())
    document["stages"]["finetune"]["facts"]["recipe: lr"] = "0.5"
    Path("tuned.json").write_text(json.dumps(document))
    assert differences(check(Path("tuned.json")), "finetune") == ("recipe: lr: 0.5 is now 0.001",)


def test_fine_tuning_leaves_the_history_alone(team, monkeypatch, tmp_path):
    monkeypatch.setenv("NNS_HISTORY", str(tmp_path / "history.jsonl"))
    settings = of_zoo(queries=("digits-45",), finetune=FineTuneSettings(epochs=1, exports=()))
    record(Path("tuned.json"), settings)
    assert not (tmp_path / "history.jsonl").exists()


def test_a_recipe_is_read_anew(team):
    settings = ReproSettings(recipe="team.toml", queries=("digits-45",), space_epochs=10)
    record(Path("recipe.json"), settings, workers=0)
    assert [each.stage for each in read_lock(Path("recipe.json")).stages] == ["data", "build", "fit", "search"]
    recipe = team / "team.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 20", "epochs = 19").replace("seed = 0", "seed = 1"))
    report = check(Path("recipe.json"), workers=0)
    assert differences(report, "data") == ("recipe: epochs: 20 is now 19", "recipe: seed: 0 is now 1")
    assert report.not_run == ("build", "fit", "search")
    recipe.write_text(recipe.read_text().replace("epochs = 19", "epochs = many"))
    report = check(Path("recipe.json"), workers=0)
    with pytest.raises(UsageError, match=r"recipe '.*team.toml', line \d+: this is no TOML"):
        report.raise_if_differs()


def test_update_writes_the_lock_anew_and_says_what_differs(lock, team):
    images = sorted((team / "digits-45" / "4").iterdir())
    images[0].unlink()
    report = update(lock)
    (data, zoo, search) = report.stages
    assert data.differences[0] == f"query digits-45: class 4: image 4/{images[0].name} is gone"
    assert zoo.ok
    assert not search.ok
    assert check(lock).ok
    before = lock.read_bytes()
    assert all(each.ok for each in update(lock).stages)
    assert lock.read_bytes() == before


def test_an_update_that_fails_leaves_the_lock(lock, team):
    before = lock.read_bytes()
    shutil.rmtree(team / "digits-45")
    with pytest.raises(NnsError, match="no dataset at"):
        update(lock)
    assert lock.read_bytes() == before


def test_a_lock_that_checks_nothing_is_refused(lock, team):
    from nns.zoo import Zoo

    document = json.loads(lock.read_text())
    predicted = document["stages"]["search"]["numbers"]["predicted accuracy"]
    for key in predicted:
        if key.startswith("digits-678: ") and "blind" not in key:
            predicted[key] = 0.5
    lock.write_text(json.dumps(document))
    with pytest.raises(
        UsageError, match=r"would check nothing of query digits-678: the predicted accuracy is 0.5 for all"
    ):
        check(lock)
    with Zoo(team / "team.h5") as zoo:
        zoo.store.remove(zoo.store.ids()[:1])
        zoo.store.merge()
    with pytest.raises(UsageError, match="one network alone"):
        record(Path("new.json"), of_zoo())
    assert not Path("new.json").exists()


def test_a_backend_without_a_network_is_refused():
    build = replace(BUILD, backends=("timm:lcnet_050", "example"))
    built = StageRecord("build", exact={"networks of backend timm": "2"})
    with pytest.raises(UsageError, match=r"would not check backend 'example': the zoo has no network of it"):
        refuse_idle([built], build)
    refuse_idle([replace(built, exact={**built.exact, "networks of backend example": "1"})], build)
    refuse_idle([built], None)


def test_settings_that_contradict_each_other():
    for settings, what in [
        ({"zoo": "a.h5", "recipe": "a.toml"}, "not both"),
        ({"zoo": "a.h5", "queries": ()}, "nothing to search with"),
        ({"zoo": "a.h5", "stages": ("build",)}, "nothing is built"),
        ({"stages": ("zoo",)}, "give `zoo`"),
        ({"stages": ("search",)}, "name build"),
        ({"stages": ("data", "finetune")}, "needs stage search"),
        ({"stages": ("build", "search", "finetune")}, "needs `finetune`"),
        ({"stages": ()}, "`stages` names none"),
        ({"build": replace(DIGITS, networks=20_000)}, "`networks` must be 1 to 10000"),
        ({"build": replace(DIGITS, transfers=1_000_000)}, "`transfers` must be 0 to"),
        ({"finetune": FineTuneSettings(epochs=0)}, "`epochs` must be 1 to"),
        ({"top": 0}, "`top` must be"),
    ]:
        with pytest.raises(UsageError, match=what):
            ReproSettings(**settings)


OUTSIDE = "../" * 20 + "etc"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["settings"].update(queries=["digits-45", OUTSIDE]),
        lambda d: d["settings"].update(queries=["digits-45", "/etc"]),
        lambda d: d["settings"].update(zoo="/etc/passwd"),
        lambda d: d["settings"].update(zoo=None, recipe=OUTSIDE + "/passwd", stages=["data", "search", "build", "zoo"]),
    ],
)
def test_a_lock_names_nothing_outside(lock, change):
    document = json.loads(lock.read_text())
    change(document)
    lock.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"is neither below its own folder nor below the current one|give `zoo`"):
        check(lock)


def test_data_outside_is_read_if_that_is_asked_for(lock, team, tmp_path):
    shutil.move(team / "digits-45", tmp_path / "digits-45")
    document = json.loads(lock.read_text())
    document["settings"]["queries"][0] = "../digits-45"
    lock.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="`outside` lets it"):
        check(lock)
    assert check(lock, outside=True).ok
    with pytest.raises(UsageError, match="`outside` lets it"):
        update(lock)


def test_a_recipe_names_nothing_outside(team):
    recipe = team / "team.toml"
    record(Path("recipe.json"), ReproSettings(recipe="team.toml", queries=(), stages=("data",)))
    recipe.write_text(recipe.read_text().replace('"digits-678"', '"/etc"'))
    with pytest.raises(UsageError, match="names '/etc'"):
        check(Path("recipe.json")).raise_if_differs()


EVIL = "x\n::error::owned"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d["stages"]["data"]["facts"].update({EVIL: "y"}), "characters that no lock has"),
        (lambda d: d["environment"].update(torch="\x1b]0;owned\7"), "characters that no lock has"),
        (lambda d: d["environment"].update(torch="##[add-mask]x"), "characters that no lock has"),
        (lambda d: d["settings"].update(queries=["a::b"]), "characters that no lock has"),
        (lambda d: d.update(tolerance=1e9), "a tolerance of 1e"),
        (lambda d: d.update(tolerance=0), "a tolerance of 0"),
        (lambda d: d.update(more=1), "unknown setting 'more'"),
        (lambda d: d["stages"]["data"].update(more={}), "unknown setting 'more'"),
        (lambda d: d["stages"].update(fit=d["stages"]["data"]), "a stage 'fit' that its settings do not have"),
        (lambda d: d["stages"]["data"].update(images={"a": {"b": 1}}), "damaged"),
        (lambda d: d["settings"].update(stages=["data", "zoo", "search", "export"]), "needs stage finetune"),
        (lambda d: d["settings"].update(finetune={"recipe": "default", "epochs": 10**9, "exports": []}), "epochs"),
        (lambda d: d["settings"].update(build={}), "is missing"),
        (lambda d: d["settings"].update(queries=["digits:../../x"]), "different digits"),
        (lambda d: d["settings"].update(zoo="plugin:none"), "unknown zoo 'none'"),
        (lambda d: d["settings"].update(queries=["torchvision:MNIST"]), "a file never makes nns connect"),
        (lambda d: d["settings"].update(queries=["x" * 5000]), "a setting of 5000 characters"),
        (lambda d: d["settings"].update(queries=["x" * 900]), "no dataset at"),
        (lambda d: d["settings"].update(queries=["~nobody-at-all/x"]), "no dataset at"),
        (lambda d: d.update(version=1), r"version 1, this nns reads version 2; .*nns repro record"),
        (lambda d: d.update(version=[[]] * 9), "a lock of version"),
    ],
)
def test_hostile_locks(lock, change, what):
    document = json.loads(lock.read_text())
    change(document)
    lock.write_text(json.dumps(document))
    with pytest.raises((UsageError, DatasetError), match=what) as error:
        check(lock).raise_if_differs()
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_names_of_files_drive_nothing(team):
    """A class and an image may be called whatever they like; the lock and all reports hold only text."""
    (team / "digits-45" / "5").rename(team / "digits-45" / "5\n::error::owned <b>`|\x1b")
    record(Path("odd.json"), of_zoo())
    text = Path("odd.json").read_text()
    assert "::" not in text
    assert "\\\\n: :error: :owned" in text
    next(iter(sorted((team / "digits-45").iterdir())[1].iterdir())).unlink()
    report = check(Path("odd.json"))
    told = (
        junit("odd.json", report).decode() + summary("odd.json", report) + "\n".join(github_lines("odd.json", report))
    )
    assert "owned" in told
    assert "\x1b" not in told
    assert "::error::" not in told
    assert all(line.startswith("::error file=odd.json,title=") for line in github_lines("odd.json", report))
    assert "<b>" not in summary("odd.json", report)
    ElementTree.fromstring(junit("odd.json", report))


def test_junit(lock, team):
    shutil.rmtree(team / "digits-45" / "5")
    suite = ElementTree.fromstring(junit("lock.json", check(lock))).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "3",
        "1",
        "0",
        "2",
    )
    data, zoo, search = suite.findall("testcase")
    assert data.find("failure").get("message") == "query digits-45: class 5 (36 images) is gone"
    assert data.get("classname") == "lock.json"
    assert zoo.find("skipped") is not None and search.find("skipped") is not None
    (team / "team.h5").write_bytes(b"no zoo")
    suite = ElementTree.fromstring(junit("lock.json", check(lock, stages=["zoo"]))).find("testsuite")
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")


def test_reports_are_bounded(lock):
    from nns.repro import CheckReport, StageResult

    many = tuple(f"network {number}: a is now b" * 10 for number in range(100_000))
    report = CheckReport(False, True, 0.0, (StageResult("zoo", False, many),) * 30, {}, 1.0)
    assert len(summary("lock.json", report).encode()) <= 501_000
    assert len(github_lines("lock.json", report)) == 10
    assert junit("lock.json", report).count(b"\n") < 30 * (LISTED + 20)


def cli(*arguments):
    from nns.cli.repro import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nns", *map(str, arguments)])
        try:
            app(standalone_mode=False)
        except NnsError as error:
            return error
    return None


def test_the_command_line(team, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(team / "summary.md"))
    asked = ["--zoo", "team.h5", "--query", "digits-45", "--query", "digits-678", "--top", "2", "--max-params", "50M"]
    assert cli("record", "lock.json", *asked) is None
    assert "(data, zoo, search)" in capsys.readouterr().err
    assert read_lock(Path("lock.json")).settings.limits.max_params == 50_000_000
    assert cli("check", "lock.json", "--github", "--junit", "report.xml", "--json") is None
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"]
    assert "::" not in captured.err
    assert "✅" in (team / "summary.md").read_text()
    next((team / "digits-45" / "4").iterdir()).unlink()
    error = cli("check", "lock.json", "--github", "--junit", "report.xml", "--json", "--strict")
    assert isinstance(error, ReproError)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [each["stage"] for each in document["stages"]] == ["environment", "data"]
    assert document["not_run"] == ["zoo", "search"]
    assert (
        "::error file=lock.json,title=nns repro%3A stage data differs::query digits-45: class 4: image" in captured.err
    )
    assert ElementTree.parse(team / "report.xml").find("testsuite").get("failures") == "1"
    assert (team / "summary.md").read_text().count("###") == 2
    assert cli("update", "lock.json") is None
    captured = capsys.readouterr()
    assert "is gone" in captured.out
    assert "commit it" in captured.err
    assert cli("update", "lock.json", "--json") is None
    assert [each["ok"] for each in json.loads(capsys.readouterr().out)["stages"]] == [True] * 3


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--zoo", "team.h5"], "nothing to search with: give `query`"),
        (
            ["--zoo", "team.h5", "--networks", "3", "--query", "digits-45"],
            "`zoo` is there already: leave out `networks`",
        ),
        (["--recipe", "team.toml", "--epochs", "3", "--query", "digits-45"], "says what is built: leave out `epochs`"),
        (["--recipe", "team.toml", "--zoo", "team.h5"], "not both"),
        (["--zoo", "team.h5", "--query", "digits-45", "--export", "onnx"], "`export` has no effect"),
        (["--zoo", "team.h5", "--query", "digits-45", "--finetune-epochs", "2"], "`finetune_epochs` has no effect"),
        (["--zoo", "none.h5", "--query", "digits-45"], "none.h5"),
        (["--zoo", "team.h5", "--query", "nowhere"], "no dataset at"),
        (["--zoo", "team.h5", "--query", "digits-45", "--stages", "data,serch"], "did you mean 'search'"),
        (["--zoo", "team.h5", "--query", "digits-45", "--max-params", "1"], "no network"),
    ],
)
def test_wrong_arguments(team, arguments, what):
    error = cli("record", "wrong.json", *arguments)
    assert what in str(error)
    assert not Path("wrong.json").exists()


def test_what_cannot_be_written_is_told_before_anything_is_run(lock, team):
    (team / "taken").mkdir()
    (team / "file").write_text("")
    for place in ("taken", "file/lock.json"):
        with pytest.raises(UsageError, match="cannot be written"):
            record(Path(place), of_zoo(), work=team / "work")
        assert "report" in str(cli("check", "lock.json", "--work", "work", "--junit", place))
    assert not (team / "work").exists()


def test_the_zoo_of_a_plugin_is_named_by_it(tmp_path, monkeypatch):
    """Its file lies elsewhere on another machine."""
    from nns.cli.repro import _zoo
    from nns.plugins import installed_plugins

    monkeypatch.chdir(tmp_path)
    if "starter" not in installed_plugins().names("zoo"):
        pytest.skip("needs nns-zoo-starter")
    assert _zoo(str(installed_plugins().make("zoo", "starter"))) == "plugin:starter"
    assert _zoo("plugin:starter") == "plugin:starter"
    assert _zoo("team.h5") == "team.h5"
    write_digits("digits:45", tmp_path)
    record(Path("lock.json"), ReproSettings(zoo="plugin:starter", queries=("digits-45",), top=3))
    lock = read_lock(Path("lock.json"))
    assert lock.environment["zoo starter"].startswith("nns-zoo-starter==")
    assert len(lock.stages[-1].numbers["score"]) == 3
    report = check(Path("lock.json"))
    assert report.ok, report
