"""The one opener of files that come from outside: what it refuses, in what time, and that everybody uses it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from nns import untrusted
from nns.untrusted import Kind, RefusedFileError, check_file, open_file, read_file

SMALL = Kind("a small file", 1000)
SOURCES = Path(untrusted.__file__).parent


@pytest.fixture(params=[False, True], ids=["on a disk", "on a server"])
def waits(request, monkeypatch):
    monkeypatch.setattr(untrusted, "_waits", lambda: request.param)
    return request.param


@pytest.fixture
def strange(tmp_path):
    """Names that lead to something else than a file."""
    import socket

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    (tmp_path / "to-zero").symlink_to("/dev/zero")
    (tmp_path / "to-terminal").symlink_to("/dev/tty")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        server.bind("socket")
        os.chdir(here)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(40 << 30)
    return tmp_path


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pipe", "it is a named pipe, no regular file"),
        ("to-pipe", "it is a named pipe, no regular file"),
        ("to-zero", "it is a device, no regular file"),
        ("to-terminal", "it is a device, no regular file"),
        ("socket", "it is a socket, no regular file"),
        ("sparse", "it has 42.9 GB, more than a small file may have (1 kB)"),
        ("folder", "Is a directory"),
        ("self", "Too many levels of symbolic links"),
        ("none", "No such file or directory"),
    ],
)
def test_what_is_refused(name, why, strange, waits):
    for use in (read_file, open_file, check_file):
        with pytest.raises(OSError, match=r"\S") as caught:
            use(strange / name, SMALL)
        assert caught.value.strerror == why


def test_what_is_read(tmp_path, waits):
    content = os.urandom(SMALL.max_bytes)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link", SMALL) == read_file(str(tmp_path / "file"), SMALL) == content
    assert read_file(tmp_path / "empty", SMALL) == b""
    with open_file(tmp_path / "file", SMALL) as file:
        assert (file.read(10), file.seek(500), file.read(1), file.read()) == (
            content[:10],
            500,
            content[500:501],
            content[501:],
        )
    assert check_file(tmp_path / "file", SMALL).st_size == 1000


def test_large_files_of_a_server(tmp_path, waits):
    content = os.urandom(3 * untrusted.BLOCK + 5)
    (tmp_path / "file").write_bytes(content)
    assert read_file(tmp_path / "file", untrusted.WEIGHTS) == content


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
def test_a_file_that_says_that_it_has_nothing(waits):
    """Files of the kernel are regular ones of 0 bytes, and give as much as they like."""
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(RefusedFileError, match="it goes on, more than a small file may have"):
        read_file("/proc/self/maps", SMALL)
    assert b"python" in read_file("/proc/self/maps", untrusted.TABLE)


def test_a_file_that_grows(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 900)
    with open_file(path, SMALL) as file:
        path.write_bytes(b"x" * 5000)
        with pytest.raises(RefusedFileError, match="it goes on"):
            [*iter(lambda: file.read(100), b"")]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("call", ["stat", "open", "read"])
def test_a_server_that_does_not_answer(call, tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "_waits", lambda: True)
    monkeypatch.setattr(untrusted, "SECONDS", 0.2)
    (tmp_path / "file").write_bytes(b"x")
    hang, done = time.sleep, []

    def hanging(*args, **more):
        hang(2)
        done.append(call)
        raise OSError

    target = untrusted._Bounded if call == "read" else os
    if call == "read":
        monkeypatch.setattr(target, "_block", lambda file, size: untrusted._patiently(hanging, "file"))
    else:
        monkeypatch.setattr(target, call, hanging)
    started = time.monotonic()
    with pytest.raises(RefusedFileError, match="it gave nothing for 0.2 s"):
        read_file(tmp_path / "file", SMALL)
    assert time.monotonic() - started < 1.5
    assert not done


@pytest.mark.timeout(20)
def test_a_server_that_drips(tmp_path, monkeypatch):
    """Each byte comes in time, and there is no end of them."""
    clock = iter(range(10**6))
    monkeypatch.setattr(untrusted._Bounded, "_block", lambda file, size: b"x")
    monkeypatch.setattr(untrusted.time, "monotonic", lambda: next(clock))
    (tmp_path / "file").touch()
    with pytest.raises(RefusedFileError, match="it gave nothing"):
        read_file(tmp_path / "file", untrusted.WEIGHTS)


def test_a_thread_is_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "_waits", lambda: True)
    (tmp_path / "file").touch()
    for _ in range(5):
        read_file(tmp_path / "file", SMALL)
    assert len(untrusted._idle) == 1


OWN = {
    "untrusted.py": "the opener",
    "stores/hdf5/checks.py": "opens a zoo file by the same rules, and follows no links",
    "stores/hdf5/columns.py": "makes files",
    "stores/hdf5/journal.py": "makes locks and marks",
    "files.py": "writes",
    "rehearsal.py": "what a child prints goes nowhere",
    "data/cache.py": "what it wrote itself, by its checksum",
    "data/room.py": "files of the kernel's",
    "finetuning/exporting.py": "what it wrote itself",
    "finetuning/export_checks.py": "what has been written just now",
    "finetuning/run_log.py": "a log that it writes",
    "finetuning/distributed.py": "what a process prints goes nowhere",
    "finetuning/onnx_export.py": "what it wrote itself",
    "networks/latency.py": "/proc/cpuinfo",
    "networks/fingerprints/reference.py": "a picture of this package",
    "priors/prior.py": "a file of this package",
    "priors/learning.py": "tables of this package",
    "demo/data.py": "files of this package, and of the package that the demo is about",
    "cli/build_log.py": "a log that it writes",
    "cli/app.py": "what is installed",
    "cli/repro_report.py": "the summary that a runner of CI names",
    "plugins/_output.py": "the standard streams",
    "plugins/starting.py": "templates of this package",
    "cli/streams.py": "the standard streams",
    "building/folder.py": "its own claims, whose descriptors it locks",
    "tans/supernets.py": "the output of a process of its own",
    "bench/making.py": "cells that it writes",
}
"""Files that open files in another way, and why."""

OPENING = re.compile(
    r"(?<![\w.])(?<!def )open\(|\bos\.open\(|\.open\(\s*(newline|encoding|[\"']r)|\.read_(bytes|text)\("
    r"|\bZipFile\((path|self)|\bnp\.load\((path|self)|\bload_file\(|\btorch\.load\("
)
BY_NAME = {"checkpoint.py", "resnet18.py", "archives.py", "efficientnet_lite0.py", "weights.py", "supernet.py"}
"""Files in which a library opens a file by its name, after it was looked at or from a package."""


def test_everybody_uses_it():
    found = {}
    for path in SOURCES.rglob("*.py"):
        name = path.relative_to(SOURCES).as_posix()
        code = re.sub(r'""".*?"""|#[^\n]*', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        hits = [hit[0] for hit in OPENING.finditer(code)]
        if path.name in BY_NAME:
            hits = [hit for hit in hits if not hit.startswith(("load_file", "torch.load"))]
        if hits:
            found[name] = hits
    assert {name: hits for name, hits in found.items() if name not in OWN} == {}
    assert set(OWN) - set(found) == set()


COMMANDS = {
    "--from": ("finetune", "DATA", "--zoo", "ZOO", "--from", "FILE", "-o", "OUT"),
    "--recipe": ("zoo", "build", "OUT", "--recipe", "FILE"),
    "a lock": ("repro", "check", "FILE"),
    "a checkpoint": (
        "zoo",
        "add",
        "ZOO",
        "FILE",
        "--backend",
        "timm",
        "--architecture",
        "resnet10t",
        "--data",
        "digits-67",
    ),
    "a table of networks": ("zoo", "add", "ZOO", "--table", "FILE"),
    "a history": ("history", "merge", "FILE"),
    "a zoo": ("zoo", "verify", "FILE"),
    "a matrix": ("bench", "run", "FILE", "-o", "OUT"),
    "an image": ("predict", "MODEL", "FILE"),
    "a dataset": ("doctor", "FILE"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["pipe", "to-zero"])
@pytest.mark.parametrize("what", COMMANDS)
def test_whatever_a_command_is_given(what, name, strange, nns, small_zoo, monkeypatch):
    """Each ends at once, with a sentence that names the file."""
    places = {"FILE": strange / name, "DATA": small_zoo.query, "OUT": strange / "out"}
    if "ZOO" in COMMANDS[what]:
        places["ZOO"] = small_zoo.copy(strange)
    monkeypatch.setenv("NNS_HISTORY", str(strange / "history"))
    if "MODEL" in COMMANDS[what]:
        places["MODEL"] = strange / "model"
        chosen = ("--backend", "example", "--try", 1, "--epochs", 1)
        assert nns("finetune", small_zoo.query, "--zoo", small_zoo.path, "-o", places["MODEL"], *chosen).code == 0
    done = nns(*(places.get(word, word) for word in COMMANDS[what]))
    assert done.code not in (0, 1)
    assert name in done.err + done.out, done
    assert "Traceback" not in done.err
