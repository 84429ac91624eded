"""What the tests of all plugins share."""

from __future__ import annotations

import sys
from collections import namedtuple

import pytest

Ran = namedtuple("Ran", "code out err")


@pytest.fixture
def nns(monkeypatch, capsys):
    """Run the command line in this process, as ``nns("plugins", "--json")``, for a user who has fetched nothing."""
    from nns.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NNS_ZOO", raising=False)
    monkeypatch.setenv("NNS_HISTORY", "off")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["nns", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def user(monkeypatch, tmp_path):
    """A user with folders of their own, who has fetched nothing yet."""
    for name in ("DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "user" / name))
    return tmp_path / "user"
