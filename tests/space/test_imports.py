"""What is loaded when, checked in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pluggy
import pytest

import nns.space
from nns import hookspecs
from nns.space import Mixed, Tans, _builtin
from nns.testing import planted_zoo


def run_python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_space_loads_neither_numpy_nor_torch():
    code = "import sys, nns.space._builtin; print([m for m in ('numpy', 'torch') if m in sys.modules])"
    assert run_python(code) == "[]"


@pytest.mark.parametrize("method", [Tans(epochs=2), Mixed(epochs=2)], ids=lambda m: m.name)
def test_scoring_a_query_needs_no_torch(method, tmp_path):
    zoo = planted_zoo(datasets=4, networks=2)
    tensors = tmp_path / "tensors"
    tensors.write_bytes(method.fit(zoo).to_tensors())
    code = f"""
import sys, numpy as np
from pathlib import Path
from nns.space import builtin_methods
method = builtin_methods()[{method.name!r}](**{method.settings()!r})
method.load_tensors(Path(sys.argv[1]).read_bytes())
query = method.embed_query(np.ones((3, 96), np.float32), np.array([0, 1, 1]))
embeddings = np.ones((5, len(query)), np.float32)
method.score(query, embeddings), method.prior(embeddings), method.predict_accuracy(query, embeddings)
print("torch" in sys.modules)
"""
    assert run_python(code, str(tensors)) == "False"


def test_public_names_exist_and_are_sorted():
    assert nns.space.__all__ == sorted(nns.space.__all__)
    assert all(getattr(nns.space, name).__doc__ for name in nns.space.__all__)
    assert set(nns.space.__all__) == set(dir(nns.space))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nns.space.nothing  # noqa: B018


def test_builtin_methods_come_in_through_the_hook():
    manager = pluggy.PluginManager("nns")
    manager.add_hookspecs(hookspecs)
    manager.register(_builtin)
    found = {}
    manager.hook.nns_register_methods(register=found.__setitem__)
    assert sorted(found) == ["mixed", "tans"]
    assert isinstance(found["mixed"](seed=3), Mixed)
    assert isinstance(found["tans"](dim=16), Tans)


def test_a_tans_fit_does_not_load_the_compiler_of_torch():
    code = """
import sys
from nns.space import Tans
from nns.testing import planted_zoo
Tans(epochs=2).fit(planted_zoo(datasets=4, networks=2))
print([m for m in ('torch._dynamo', 'triton', 'sympy') if m in sys.modules])"""
    assert run_python(code) == "[]"
