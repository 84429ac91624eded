"""No pickle: what comes from a file cannot run code, unless a person asks for it by --trust-pickle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nns

SOURCE = Path(nns.__path__[0])
FILES = sorted(SOURCE.rglob("*.py"))
UNPICKLERS = {"load", "loads", "Unpickler"}
TRUSTED = "pipeline/checkpoints.py"
"""The one place that honours ``--trust-pickle``."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_nothing_is_unpickled(path):
    for call, name in calls(path):
        module, _, function = name.rpartition(".")
        assert not (module in {"pickle", "cPickle", "dill", "cloudpickle", "joblib"} and function in UNPICKLERS), name
        assert name not in {"eval", "exec", "np.load", "numpy.load", "torch.hub.load", "yaml.load"}, name
        if name == "torch.load":
            (safe,) = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "weights_only"]
            trusted = path.relative_to(SOURCE).as_posix() == TRUSTED
            assert safe == ("not trust_pickle" if trusted else "True")


def test_the_exception_is_still_there():
    assert any(name == "torch.load" for _, name in calls(SOURCE / TRUSTED))
