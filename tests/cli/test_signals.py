"""Ctrl-C, SIGTERM and SIGHUP, at whatever moment: a word, an exit code, no traceback, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}

GUARDED = """
import os, sys, time
from nns.cli import signals
ready = {ready!r}
def told(): os.write(1, b"ready\\n")
sys.path.insert(0, {folder!r})
import nns.cli
def run():
    {body}
nns.cli._run = run
nns.cli.main()
"""


def interrupted(folder, body, number, times=1, before=lambda: None):
    code = GUARDED.format(ready="", folder=str(folder), body=body)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before
    ) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.1)
        out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.mark.parametrize("number", CODES)
def test_a_signal_ends_with_a_word_and_its_code(tmp_path, number):
    code, out, err = interrupted(tmp_path, "told(); time.sleep(20)", number)
    assert (code, out) == (CODES[number], "")
    assert err == ("error: interrupted\n" if number == signal.SIGINT else f"error: ended by {number.name}\n")


@pytest.mark.parametrize("number", CODES)
def test_an_import_is_not_cut_in_two(tmp_path, number):
    """Within C code, or a plugin's `except`, an exception would become another, or nothing."""
    (tmp_path / "slow.py").write_text(
        "import os, time\nos.write(1, b'ready\\n')\n"
        "try:\n    time.sleep(0.5)\nexcept BaseException:\n    os.write(1, b'cut')\n"
    )
    code, out, err = interrupted(tmp_path, "import slow; time.sleep(5); os.write(1, b'after')", number)
    assert (code, out) == (CODES[number], "")
    assert len(err.splitlines()) == 1


def test_at_the_second_ctrl_c_an_import_is_not_waited_for(tmp_path):
    (tmp_path / "slow.py").write_text("import os, time\nos.write(1, b'ready\\n')\ntime.sleep(20)\n")
    began = time.monotonic()
    code, _, err = interrupted(tmp_path, "import slow", signal.SIGINT, times=2)
    assert (code, err) == (130, "error: interrupted\n")
    assert time.monotonic() - began < 10


def test_a_long_import_is_not_waited_for(tmp_path):
    (tmp_path / "slow.py").write_text("import os, time\nos.write(1, b'ready\\n')\ntime.sleep(20)\n")
    began = time.monotonic()
    assert interrupted(tmp_path, "import slow", signal.SIGTERM)[0] == 143
    assert time.monotonic() - began < 10


def test_what_c_code_makes_of_ctrl_c_is_still_ctrl_c(tmp_path):
    body = """
    try:
        told(); time.sleep(20)
    except KeyboardInterrupt as error:
        raise SystemError("initialization failed") from error"""
    assert interrupted(tmp_path, body.strip(), signal.SIGINT)[0] == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_stays_ignored(tmp_path, number):
    def ignore():
        signal.signal(number, signal.SIG_IGN)

    assert interrupted(tmp_path, "told(); time.sleep(0.5)", number, before=ignore)[0] == 0


@pytest.mark.parametrize("number", CODES)
def test_the_first_third_of_a_second(number):
    """From when the guard stands, about 50 ms after the start of Python, to the end."""
    codes = set()
    for wait in (0, 0.02, 0.05, 0.1, 0.2, 0.4):
        with subprocess.Popen(
            [sys.executable, "-c", "from nns.cli import main; main()", "plugins", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            until = time.monotonic() + 60
            while not _catches(process.pid, number) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(wait)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        codes.add(process.returncode)
        if process.returncode:
            assert len(err.splitlines()) == 1
            assert out == "" or json.loads(out)["plugins"], "the signal came after all was said"
    assert codes <= {0, CODES[number]}
    assert CODES[number] in codes


def _catches(process, number):
    """Whether a process has more than Python's own handler of Ctrl-C."""
    with open(f"/proc/{process}/status") as status:
        caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGHUP - 1) & 1) and bool(caught >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_build_keeps_what_is_finished_and_leaves_no_process(tmp_path, plain_zoo, number):
    """As Ctrl-C does: what is in the journal is merged, workers end, the exit code says which signal it was."""
    zoo = plain_zoo.copy(tmp_path)
    command = [sys.executable, "-c", "from nns.cli import main; main()", "zoo", "build", str(zoo), "--json"]
    command += [word for name in plain_zoo.settings.data for word in ("--data", name)]
    command += ["--backend", "example", "--networks", "40", "--no-pretrained", "--epochs", "400", "--workers", "1"]
    log = tmp_path / "log"
    with subprocess.Popen(
        [*command, "--image-size", "16", "--log", str(log)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        until = time.monotonic() + 60
        while not (log.exists() and '"start"' in log.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        while not (workers := _children(process.pid)) and time.monotonic() < until:
            time.sleep(0.05)  # the log is ahead of the workers where the machine is busy
        os.killpg(process.pid, number)  # a terminal that is closed, and schedulers, signal them all
        out, err = process.communicate(timeout=60)
    assert process.returncode == CODES[number], err
    assert '"interrupted": true' in out
    assert "Traceback" not in err
    assert '"failed": []' in out
    until = time.monotonic() + 10  # one of multiprocessing's own ends after its parent
    while (left := [each for each in workers if os.path.exists(f"/proc/{each}")]) and time.monotonic() < until:
        time.sleep(0.05)
    assert workers
    assert not left


def _children(parent):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    if int(file.read().rpartition(")")[2].split()[1]) == parent:
                        found.append(int(name))
            except OSError:
                continue
    return found
