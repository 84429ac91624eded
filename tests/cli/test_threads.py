"""Threads wait passively, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = """
import os, sys
from nns.cli import main
assert "torch" not in sys.modules
try:
    main()
except SystemExit:
    print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
def test_threads_wait_passively_before_torch_is_loaded(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", ASK, "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == expected
