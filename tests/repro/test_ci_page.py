"""docs/ci.md is true: its jobs run, step by step, as far as a machine without their runners can; and what is caught."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from nns.building import write_build_file
from nns.errors import NnsError
from nns.repro import DIGITS, ReproSettings, record
from nns.repro.digits import write_digits
from nns.repro.stages import ZOO_FILE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
JOBS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
RECORD = re.search(r"<!-- record -->\n```sh\n(.*?)\n```", PAGE, re.DOTALL)[1]
CAUGHT = {row[0]: row[1:] for row in re.findall(r"^\| (.+?) \| `(.+)` \| (\d) \|$", PAGE, re.MULTILINE)}
INSTALL = "pip install -r requirements.txt"
USED = {"actions/checkout@v4", "actions/setup-python@v5", "actions/cache@v4", "actions/upload-artifact@v4"}

ACME = """
from nns.finetuning import Recipe
from nns.plugins import hookimpl

@hookimpl
def nns_register_recipes(register):
    register("acme", lambda: Recipe(lr=0.001))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What is in the repository, and the zoo."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "data").mkdir()
    write_digits("digits:45", folder).rename(folder / "data" / "dogs")
    write_digits("digits:01", folder)
    build = replace(DIGITS, data=("digits-01", "data/dogs"), backends=("timm:lcnet_050",), networks=2, max_images=72)
    build = replace(build, epochs=20)
    (folder / "team.toml").write_text(write_build_file(build))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = ReproSettings(recipe="team.toml", queries=("digits-01",), space_epochs=10)
        record(folder / "build.lock.json", settings, workers=0, work=folder / "work")
        (folder / "work" / ZOO_FILE).rename(folder / "team.h5")
        shutil.rmtree(folder / "work")
        assert nns(*RECORD.split()[1:]) is None
    digest = hashlib.sha256((folder / "team.h5").read_bytes()).hexdigest()
    (folder / "team.h5.sha256").write_text(f"{digest}  team.h5\n")
    (folder / "requirements.txt").write_text("nns\n")
    return folder


@pytest.fixture
def repository(made, tmp_path, monkeypatch):
    folder = tmp_path / "repository"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def nns(*arguments):
    """Run a command of ``nns repro`` in this process; return what it ends with."""
    from nns.cli.repro import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nns", *arguments[1:]])
        try:
            app(standalone_mode=False)
        except NnsError as error:
            return error
    return None


def shell(script, folder, **environment):
    """Run a step as a runner does: bash, which ends at the first command that fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def github():
    return JOBS[0]["jobs"]["check"]


def gitlab():
    return JOBS[1]["nns"]


def variables(given, folder):
    here = {"${{ github.workspace }}": str(folder), "$CI_PROJECT_DIR": str(folder)}
    found = {}
    for name, value in given.items():
        for what, stands_for in here.items():
            value = value.replace(what, stands_for)
        found[name] = value
    return found


def test_the_jobs_are_what_their_runners_take():
    job = github()
    assert JOBS[0]["permissions"] == {"contents": "read"}
    assert {step["uses"] for step in job["steps"] if "uses" in step} == USED
    assert all(("run" in step) != ("uses" in step) for step in job["steps"])
    cached = [step["with"]["path"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache")]
    assert cached == ["team.h5", ".cache/huggingface"]
    assert [path for each in gitlab()["cache"] for path in each["paths"]] == [".cache/pip", *cached]
    assert all(len(each["key"]["files"]) <= 2 for each in gitlab()["cache"]), "GitLab takes two"
    assert len(gitlab()["cache"]) <= 4, "GitLab takes four"


def test_both_jobs_run_the_same_commands():
    steps = "\n".join(step["run"] for step in github()["steps"] if "run" in step).strip().splitlines()
    other = [*gitlab()["before_script"][1:], *gitlab()["script"]]
    assert [line.replace(" --github", "") for line in steps if line] == other


def test_the_job_of_github_step_by_step(repository, tmp_path):
    told = variables(github()["env"], repository) | {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    for step in github()["steps"]:
        if "run" in step and not step["run"].startswith(INSTALL):
            done = shell(step["run"], repository, **told)
            assert done.returncode == 0, (step["run"], done.stderr)
    assert "✅" in (tmp_path / "summary.md").read_text()
    suite = ElementTree.parse(repository / github()["steps"][-1]["with"]["path"]).find("testsuite")
    cases = [case.get("name") for case in suite.findall("testcase")]
    assert cases == ["environment", "data", "zoo", "search", "finetune", "export"]
    assert suite.get("failures") == "0"


def test_steps_that_fail_stop_the_job(repository, tmp_path):
    zoo_step = next(step["run"] for step in github()["steps"] if "sha256sum" in step.get("run", ""))
    (repository / "team.h5").write_bytes((repository / "team.h5").read_bytes()[:-1])
    assert shell(zoo_step, repository).returncode != 0
    (repository / "team.h5").unlink()
    assert shell(zoo_step, repository, ZOO_URL=f"file://{tmp_path}/none").returncode != 0


@pytest.mark.slow
@pytest.mark.timeout(1800)  # pip builds two wheels and asks the registry
def test_the_job_of_gitlab_in_an_environment_of_its_own(repository, tmp_path):
    """With pip's step, too: nns comes from this checkout, what it needs from the environment of the tests."""
    job = gitlab()
    (repository / "requirements.txt").write_text(f"{ROOT}\n{ROOT / 'plugins' / 'nns-example'}\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    (purelib,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    # behind what pip installs here; with what is installed there to be edited
    here = str(Path(pytest.__file__).parents[1])
    (purelib / "tests.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    path = os.pathsep.join([str(tmp_path / "venv" / "bin"), os.environ["PATH"]])
    script = "\n".join([*job["before_script"], *job["script"]])
    script = script.replace(" --extra-index-url https://download.pytorch.org/whl/cpu", "")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=repository, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": path, **variables(job["variables"], repository)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (repository / job["artifacts"]["reports"]["junit"]).is_file()


def check(*more, lock="nns.lock.json"):
    return nns("repro", "check", lock, "--strict", *more)


def assert_caught(error, what, **values):
    """See that the page says what the check did, values of this machine aside."""
    said, code = CAUGHT[what]
    for name, value in values.items():
        said = said.replace(name, value)
    told = re.escape(said).replace("…", ".+")
    assert re.search(told, str(error).replace(str(Path.cwd()) + "/", "")), str(error)
    assert error.exit_code == int(code)


def test_a_changed_image(repository):
    image = sorted((repository / "data" / "dogs" / "4").iterdir())[0]
    assert image.name == "0004.pgm"
    image.write_bytes(image.read_bytes()[:-1] + b"\7")
    assert_caught(check(), "an image")


def test_a_changed_seed(repository):
    assert_caught(check("--seed", "1", "--stage", "finetune"), "the seed")


def test_a_changed_recipe_of_a_build(repository):
    recipe = repository / "team.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 20", "epochs = 19"))
    assert_caught(check(lock="build.lock.json"), "a recipe of a build")
    recipe.write_text(recipe.read_text().replace("epochs = 19", "epochs = 20").replace("seed = 0", "seed = 1"))
    assert "recipe: seed: 0 is now 1" in str(check(lock="build.lock.json"))


def test_a_damaged_zoo(repository):
    zoo = repository / "team.h5"
    content = bytearray(zoo.read_bytes())
    for place in range(100, len(content), len(content) // 7):
        content[place] ^= 0xFF
        zoo.write_bytes(content)
        error = check()
        assert error is not None and error.exit_code == 4
        assert "team.h5" in str(error)
        content[place] ^= 0xFF
    content[len(content) // 2] ^= 0xFF
    zoo.write_bytes(content)
    assert_caught(check(), "a byte of the zoo")


def install(folder, name, number, code=None):
    """Lay out an installed distribution."""
    info = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    if code:
        (info / "entry_points.txt").write_text("[nns]\nacme = acme_nets\n")
        (folder / "acme_nets.py").write_text(code)
    return str(folder)


@pytest.fixture
def on_path(monkeypatch):
    """Put folders before what is installed, and forget the plugins that were loaded without them, before and after."""
    from nns.plugins import _loading

    def put(folder):
        monkeypatch.setattr(sys, "path", [folder, *(path for path in sys.path if path not in placed)])
        placed.add(folder)
        sys.modules.pop("acme_nets", None)
        _loading._installed.cache_clear()

    placed = set()
    yield put
    _loading._installed.cache_clear()
    sys.modules.pop("acme_nets", None)


def test_a_changed_plugin(repository, tmp_path, on_path, capsys):
    on_path(install(tmp_path / "before", "acme-nets", "0.2", ACME))
    asked = ["--zoo", "team.h5", "--query", "data/dogs", "--finetune", "--finetune-recipe", "acme"]
    assert nns("repro", "record", "acme.json", *asked, "--finetune-epochs", "1") is None
    on_path(install(tmp_path / "after", "acme-nets", "0.3", ACME.replace("0.001", "0.002")))
    assert_caught(check(lock="acme.json"), "the version of a plugin")
    capsys.readouterr()
    assert_caught(nns("repro", "check", "acme.json"), "a number of the training")
    said = "the environment differs: recipe acme acme-nets==0.2 → acme-nets==0.3"
    assert said in capsys.readouterr().err


def test_a_changed_library(repository, tmp_path, on_path):
    before = version("pillow")
    on_path(install(tmp_path / "library", "pillow", "99.0"))
    assert_caught(check(), "the version of a library", **{"12.3.0": before})


@pytest.mark.slow
def test_a_library_of_another_version_as_pip_installs_it(repository, tmp_path):
    other = "11.3.0" if version("pillow") != "11.3.0" else "11.2.1"
    asked = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "library")]
    subprocess.run([*asked, f"pillow=={other}"], check=True)
    done = shell("nns repro check nns.lock.json", repository, PYTHONPATH=str(tmp_path / "library"))
    assert f"the environment differs: pillow {version('pillow')} → {other}" in done.stderr
    done = shell("nns repro check nns.lock.json --strict", repository, PYTHONPATH=str(tmp_path / "library"))
    assert f"pillow: {version('pillow')} is now {other}" in done.stderr
    assert done.returncode == 6


def test_the_update_of_the_page(repository):
    (sorted((repository / "data" / "dogs" / "4").iterdir())[0]).unlink()
    assert check() is not None
    (block,) = re.findall(r"## When a change is meant\n\n```sh\n(.*?)\n```", PAGE, re.DOTALL)
    assert nns(*block.split()[1:]) is None
    assert check() is None
    assert json.loads((repository / "nns.lock.json").read_text())["version"] == 2
