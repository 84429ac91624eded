"""docs/plugins.md goes from `nns plugins new` to a search: each of its commands runs, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nns.plugins._loading import _installed
from nns.testing import tiny_image_folder

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- test -->\n```sh\n(.*?)```", re.DOTALL)
FIRST, SECOND, THIRD = BLOCK.findall(PAGE)
QUICK = {"--networks": "1", "--epochs": "1"}


@pytest.fixture
def newcomer(tmp_path, monkeypatch, nns):
    """Run commands as somebody who has folders of images and no plugin yet."""
    (tmp_path / "site").mkdir()
    (tmp_path / "cwd").mkdir()
    for seed, name in enumerate(("mydata", "birds")):
        tiny_image_folder(tmp_path / "cwd" / name, classes=2 + seed)
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("NNS_HISTORY", "off")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(folder):
        """What pip does with -e: an entry point, and the sources on the path."""
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = "\n".join(f"{name} = {value}" for name, value in project["entry-points"]["nns"].items())
        (info / "entry_points.txt").write_text(f"[nns]\n{points}\n")
        monkeypatch.syspath_prepend(str(folder / "src"))
        _installed.cache_clear()

    def run(words):
        if words[:3] == ["pip", "install", "-e"]:
            folder = Path(words[3].partition("[")[0])
            return None if (ROOT / folder).is_dir() else install(folder.absolute())
        if words[0] == "pytest":
            # all of its tests run in test_starting.py
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words[1:]]
            command += ["-k", "offers or describing"]
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            assert done.returncode == 0, done.stdout
            return None
        assert words[0] == "nns"
        quick = [QUICK.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        done = nns(*quick[1:], *["--workers", "0"] * (words[1:3] == ["zoo", "build"]))
        assert done.code == 0, f"{shlex.join(words)}: {done.err}"
        return done

    yield lambda block: [run(words) for line in block.splitlines() if (words := shlex.split(line, comments=True))]
    _installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_nets"]:
        del sys.modules[name]


def test_from_nothing_to_a_search(newcomer, nns):
    newcomer(FIRST)
    assert "acme-nets:acme_nets" in nns("plugins").out
    ran = newcomer(SECOND)
    assert "plain-w" in ran[0].out
    assert "plain-w" in ran[2].out, "the search returns the new networks"
    assert Path("out", "model.safetensors").is_file()
    shutil.rmtree("out")


def test_the_example(newcomer):
    assert "example" in newcomer(THIRD)[1].out


def test_no_command_is_left_out():
    """What looks like commands is in a block that runs, or is on a page of a kind (tests/plugins/test_starting.py)."""
    outside = BLOCK.sub("", PAGE)
    assert not re.findall(r"^    (?:nns|pip|pytest) .*", outside, re.MULTILINE)
    assert len(re.findall(r"^```sh$", PAGE, re.MULTILINE)) == 3
