"""Standard streams that are closed, full, or in another encoding; plugins that print; arguments that are empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NNS = [sys.executable, "-c", "from nns.cli import main; main()"]
ENCODINGS = ["ascii", "cp1252", "latin-1", "ascii:strict", "utf-8"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A zoo with names that few encodings have, and one that no encoding has."""
    from nns.stores import HDF5Store
    from nns.testing._store import sample_network

    path = tmp_path_factory.mktemp("names") / "zoo.h5"
    with HDF5Store(path) as store:
        store.add_network(sample_network(1, source_dataset="Vögel → 鳥 × 5", license="µ–…"))
        store.merge()
    return path


def run(*arguments, shell=None, **environment):
    command = [*NNS, *map(str, arguments)]
    if shell is not None:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=100)
    assert b"Traceback" not in done.stderr + done.stdout
    assert b"ignored" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [(encoding, ("ls", *more)) for encoding in ENCODINGS for more in ((), ("--json",))]
    + [("cp1252", ("info",)), ("ascii", ("show", "0")), ("ascii", ("verify",))],
)
def test_no_encoding_breaks_a_command(zoo, arguments, encoding):
    command, *more = arguments
    done = run("zoo", command, zoo, *more, PYTHONIOENCODING=encoding, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding.partition(":")[0])
    if "--json" in more:
        assert json.loads(text)["networks"][0]["source_dataset"] == "Vögel → 鳥 × 5"
        assert text.isascii()
    elif command == "ls":
        assert ("Vögel → 鳥 × 5" if encoding == "utf-8" else "gel -> \\u9ce5 ") in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_no_encoding_breaks_a_message(tmp_path, encoding):
    done = run("search", os.fsencode(tmp_path / "→").decode("utf-8") + "\udcff", PYTHONIOENCODING=encoding)
    assert done.returncode == 3
    assert done.stderr.startswith(b"error: ")


@pytest.mark.parametrize("line", ["plugins --json", "--help", "zoo ls {zoo}"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_failure(zoo, line, closed):
    done = run(*line.format(zoo=zoo).split(), shell=closed)
    assert done.returncode == 0
    if ">&-" not in closed.replace("2>&-", ""):
        assert done.stdout
    assert done.stderr == b""


def test_a_file_does_not_become_stdout(zoo):
    """With stdout closed the next file that is opened would get its number, and what is printed."""
    before = zoo.read_bytes()
    assert run("zoo", "ls", zoo, shell=">&-").returncode == 0
    assert run("zoo", "rm", zoo, "zzz", shell=">&- 2>&-").returncode == 2
    assert zoo.read_bytes() == before


@pytest.mark.parametrize("line", ["plugins --json", "plugins", "--version"])
def test_a_full_disk_is_said(line):
    done = run(*line.split(), shell=">/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"error: cannot write the result to stdout: No space left on device\n"


@pytest.mark.parametrize("line", ["plugins --json", "plugins", "--help", "--version"])
def test_a_reader_that_leaves_ends_the_command_in_silence(line):
    done = run(*line.split(), shell="| true; exit ${PIPESTATUS[0]}")
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_nobody_reads_what_goes_wrong():
    assert run("search", "nowhere", shell="2>&1 | true; exit ${PIPESTATUS[0]}").returncode == 3


PLUGIN = """
import atexit, io, logging, os, subprocess, sys
print("a plugin says hello")
logging.basicConfig(stream=sys.stdout)
logging.getLogger().warning("a log")
atexit.register(print, "a plugin says goodbye")
atexit.register(os.write, 1, b"and once more")
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", write_through=True)
os.write(1, b"past Python's streams\\n")
subprocess.run(["echo", "from a process of its own"])

from nns.plugins import hookimpl

@hookimpl
def nns_register_backends(register):
    print("registering")
    register("loud", lambda: print("made"))
"""


@pytest.mark.parametrize("entry", ["loud", "loud-commands"])
def test_a_plugin_that_prints_does_not_break_json(tmp_path, zoo, entry):
    (tmp_path / "loud_plugin.py").write_text(PLUGIN)
    info = tmp_path / "loud_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nns]\n{entry} = loud_plugin\n")
    done = run("plugins", "--json", PYTHONPATH=str(tmp_path))
    assert "loud-plugin" in {each["distribution"] for each in json.loads(done.stdout)["plugins"]}
    said = (b"a log", b"says goodbye", b"and once more", b"says hello", b"past Python", b"process of its own")
    for words in (*said, b"registering"):
        assert words in done.stderr
    assert run("--version", PYTHONPATH=str(tmp_path)).stdout.startswith(b"nns ")
    assert b"hello" not in run("zoo", "ls", zoo, "--json", PYTHONPATH=str(tmp_path)).stdout


EMPTY = [
    ("search {data} --max-params=", "--max-params is empty"),
    ("search {data} --max-params {}", "--max-params is empty"),
    ("search {data} --backend {}", "--backend is empty"),
    ("search {data} --zoo {}", "--zoo is empty"),
    ("search {}", "an argument is empty"),
    ("search {blank}", "an argument is empty"),
    ("doctor {}", "an argument is empty"),
    ("finetune {data} --budget={blank}", "--budget is empty"),
    ("finetune {data} -o {}", "-o is empty"),
    ("finetune {data} --network 0 {}", "an argument is empty"),
    ("zoo ls {data} --dataset {}", "--dataset is empty"),
    ("zoo build z.h5 --data {}", "--data is empty"),
    ("zoo build z.h5 --data {data} --recipe=", "--recipe is empty"),
    ("zoo rm {data} --dataset {} --yes", "--dataset is empty"),
    ("space fit {}", "an argument is empty"),
    ("bench make {data} {data} --tasks {} -o m.npz --candidates {}", "--tasks is empty"),
    ("repro record {}", "an argument is empty"),
    ("export {data} --format {}", "--format is empty"),
    ("--version {}", "--version is empty"),
]


@pytest.mark.parametrize(("line", "words"), EMPTY, ids=lambda value: str(value)[:40])
def test_an_empty_argument_is_an_error(nns, tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    arguments = [
        word.replace("{data}", str(tmp_path)).replace("{blank}", "  ").replace("{}", "") for word in line.split()
    ]
    done = nns(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {words}")
    assert not list(tmp_path.iterdir())


def test_every_option_of_every_command_refuses_an_empty_value(nns):
    """Wherever it stands: whoever adds an option need not think of it."""
    from typer.main import get_command

    from nns.cli.app import app

    def commands(command, path=()):
        if hasattr(command, "commands"):
            for name, each in command.commands.items():
                yield from commands(each, (*path, name))
        else:
            yield path, command

    tried = 0
    for path, command in commands(get_command(app)):
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and not getattr(parameter, "is_flag", False):
                    done = nns(*path, option, "")
                    assert done.code == 2
                    assert done.err.startswith(f"error: {option} is empty")
                    tried += 1
    assert tried > 100


@pytest.mark.parametrize("limit", ["max_params", "max_macs", "max_size", "max_latency", "backend", "license"])
def test_an_empty_limit_is_none_in_the_library_either(limit):
    from nns.errors import UsageError
    from nns.quantities import limits_of

    with pytest.raises(UsageError):
        limits_of(**{limit: ""})


def test_a_file_of_json_lines_is_ascii_too(tmp_path):
    from nns.cli.text import ascii_json

    text = ascii_json({"name": "Vögel\x7f\u202e\udcff", "path": str(Path("a"))})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["name"] == "Vögel\x7f\u202e\udcff"
