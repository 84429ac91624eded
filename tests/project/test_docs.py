"""The documentation is true: the CLI reference is up to date, and the commands of README.md run."""

from __future__ import annotations

import glob
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- test -->\n+```sh\n(.*?)```", re.DOTALL)
SHORT_README = 50
SCALED_DOWN = {"--budget": "5s", "--epochs": "1", "--networks": "4", "--seconds": "2"}
"""Options whose values are made small, so that the test takes seconds."""


def test_the_cli_reference_is_up_to_date():
    script = ROOT / "docs" / "write_cli_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def commands(block):
    """Split a block into commands, each a list of words; comments and continued lines as in a shell."""
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def scaled_down(words):
    previous = ["", *words[:-1]]
    return [SCALED_DOWN.get(option, word) for option, word in zip(previous, words, strict=True)]


@pytest.fixture
def reader(small_zoo, tmp_path, monkeypatch, nns):
    """Run a command as a reader would, who has ./mydata, ./birds, ./tiles, photo.jpg, ./zoo.h5 and $NNS_ZOO."""
    from PIL import Image

    small_zoo.copy(tmp_path)
    for name, data in {"mydata": small_zoo.query, "birds": small_zoo.data[0], "tiles": small_zoo.data[1]}.items():
        shutil.copytree(data, tmp_path / name)
    Image.open(small_zoo.image).convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)

    def run(words):
        monkeypatch.setenv("NNS_ZOO", "zoo.h5")
        target = None
        if ">" in words:
            words, target = words[: words.index(">")], words[words.index(">") + 1]
        words = [word.replace("$NNS_ZOO", "zoo.h5") for word in scaled_down(words)]
        globbed = [sorted(glob.glob(word)) if "*" in word and "/" in word else [word] for word in words]
        done = nns(*[word for group in globbed for word in group or ["(nothing)"]][1:])
        if target:
            (tmp_path / target).write_text(done.out, encoding="utf-8")
        return done

    return run


def test_the_readme_has_commands_to_test():
    if len(README.splitlines()) > SHORT_README:
        assert BLOCK.search(README), "README.md has no block after <!-- test -->"


@pytest.mark.skipif(not BLOCK.search(README), reason="README.md has no block after <!-- test --> yet")
def test_the_commands_of_the_readme_run(reader):
    ran = 0
    for block in BLOCK.findall(README):
        for words in commands(block):
            if words[0] == "nns":
                done = reader(words)
                assert done.code == 0, f"{shlex.join(words)}: {done.err}"
                ran += 1
    assert ran


def test_commands_are_read_as_a_shell_would():
    block = "# first\nnns search ./mydata \\\n  --max-params 5M  # within\n\nnns finetune 'my data' --budget 10m\n"
    first, second = commands(block)
    assert first == ["nns", "search", "./mydata", "--max-params", "5M"]
    assert scaled_down(second) == ["nns", "finetune", "my data", "--budget", "5s"]
