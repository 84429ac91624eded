"""``nns serve`` as a process: how it begins, who may ask, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest

from nns.errors import UsageError
from nns.serving.settings import Settings, read_token

TOKEN = "0123456789abcdef-token"


@contextmanager
def command(*arguments, env=None):
    """Start ``nns serve``; yield the process and its address once it can be asked."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nns", "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})},
    )  # fmt: skip
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"(https?://\S+:\d+)", line):
                yield process, found[1]
                return
        raise AssertionError("".join(said))
    finally:
        process.kill()
        process.wait(10)


def get(url, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as response:
                return json.loads(response.read())
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "workers"),
    [(signal.SIGINT, 1), pytest.param(signal.SIGTERM, 1, marks=pytest.mark.slow), (signal.SIGTERM, 2)],
)
def test_a_signal_ends_it_after_what_is_under_way(small_zoo, question, number, workers):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("SIGINT is ignored here")
    asked = json.dumps(question).encode()
    with command(small_zoo.path, "--workers", workers, "--rate", 0) as (process, url):
        assert get(f"{url}/health") == {"ok": True, "current": True}
        codes = []

        def ask():
            request = urllib.request.Request(f"{url}/v1/search/features", asked, {"Content-Type": "application/json"})
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
                codes.append((response.status, len(json.loads(response.read())["candidates"])))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while not codes:
            time.sleep(0.01)
        process.send_signal(number)
        for thread in threads:
            thread.join()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert [code for code, _ in codes] == [200] * 4
        assert "Traceback" not in err


def test_what_cannot_be_served_is_an_error_of_the_command(small_zoo, nns, tmp_path, monkeypatch):
    monkeypatch.delenv("NNS_TOKEN", raising=False)
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no zoo")
    zoo = str(small_zoo.path)
    for arguments, code, said in (
        ([str(bad)], 4, "bad.h5"),
        ([str(tmp_path / "none.h5")], 2, "none.h5"),
        ([zoo, "--host", "0.0.0.0"], 2, "NNS_TOKEN"),
        ([zoo, "--host", "192.0.2.1"], 2, "token"),
        ([zoo, "--port", "70000"], 2, "--port"),
        ([zoo, "--workers", "0"], 2, "--workers"),
        ([zoo, "--space", "none"], 2, "none"),
        ([zoo, "--max-time", "1"], 2, "'1'"),
        ([zoo, "--max-time", "25h"], 2, "--max-time must be"),
        ([zoo, "--rate=-1"], 2, "--rate must not be negative\n"),
        ([zoo, "--max-request", "x"], 2, "'x'"),
        ([zoo, "--tls-cert", "a.pem"], 2, "--tls-key"),
    ):
        ran = nns("serve", *arguments)
        assert (ran.code, said in ran.err, ran.err.count("\n")) == (code, True, 1), (arguments, ran)


def test_without_the_extra_it_says_what_to_install(small_zoo, nns, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "fastapi" else real(name, *a))
    ran = nns("serve", str(small_zoo.path))
    assert ran.code == 2 and "pip install 'nns[serve]'" in ran.err


def test_a_port_that_is_taken_is_said(small_zoo, nns):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = nns("serve", str(small_zoo.path), "--port", str(taken.getsockname()[1]))
    assert ran.code == 2 and "cannot listen" in ran.err
    assert "Errno" not in ran.err and "give another --port" in ran.err


def test_tokens(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NNS_TOKEN", f" {TOKEN}\n")
    assert read_token(None) == TOKEN
    file = tmp_path / "token"
    for content in (b"", b"\xff\xfe", b"two words", b"two\nlines"):
        file.write_bytes(content)
        with pytest.raises(UsageError):
            read_token(file)
    with pytest.raises(UsageError):
        read_token(tmp_path / "none")
    file.write_text(TOKEN)
    file.chmod(0o644)
    assert read_token(file) == TOKEN
    assert "chmod 600" in caplog.text
    for token in ("short", "x" * 15, "ä" * 20, "a b\x00" * 10):
        with pytest.raises(UsageError):
            Settings(tmp_path, token=token)
    assert Settings(tmp_path, host="0.0.0.0", token=TOKEN).token == TOKEN
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert Settings(tmp_path, host=host).host == host


def test_the_asker_needs_none_of_the_extra():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'uvicorn', 'starlette', 'pydantic', 'multipart']));"
        "import nns.serving.remote, nns.serving.client, nns.cli.serve"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
