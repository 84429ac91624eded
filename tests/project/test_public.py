"""The public door: what is listed is there, documented and loaded at first use; nothing else is visible."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
import types

import pytest

import nns

HEAVY = {"torch", "torchvision", "timm", "ofa", "h5py", "numpy", "scipy", "sklearn", "PIL", "safetensors"}


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has after running ``code``."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_all_is_sorted_and_is_what_is_visible():
    assert nns.__all__ == sorted(nns.__all__)
    assert dir(nns) == nns.__all__
    assert sorted(nns._HOMES) == nns.__all__


@pytest.mark.parametrize("name", nns.__all__)
def test_every_name_is_there_with_a_docstring_of_its_own(name):
    value = getattr(nns, name)
    assert not isinstance(value, types.ModuleType)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        assert value.__dict__.get("__doc__"), f"{name} inherits its docstring"
        assert not value.__doc__.startswith(f"{name}("), f"{name} has the docstring that dataclass makes"


def test_no_name_is_that_of_a_submodule():
    submodules = {module.name for module in pkgutil.iter_modules(nns.__path__)}
    assert not submodules & set(nns.__all__)


def test_the_whole_error_tree_is_public():
    tree, waiting = {nns.NnsError}, [nns.NnsError]
    while waiting:
        children = [error for error in waiting.pop().__subclasses__() if error.__module__ == "nns.errors"]
        tree |= set(children)
        waiting += children
    assert {error.__name__ for error in tree} <= set(nns.__all__)
    for error in tree:
        assert error.__name__ in sys.modules["nns.errors"].__doc__


def test_version_and_unknown_names():
    from importlib.metadata import version

    assert nns.__version__ == version("nns")
    with pytest.raises(AttributeError, match="'nns' has no attribute 'serch'"):
        nns.serch  # noqa: B018


@pytest.mark.parametrize(
    "package", ["backends", "data", "plugins", "searching", "stores", "testing", "zoo", "networks"]
)
def test_the_packages_list_what_they_have(package):
    module = __import__(f"nns.{package}", fromlist=["__all__"])
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert hasattr(module, name)


def test_importing_nns_loads_nothing_heavy():
    assert not loaded_by("import nns; nns.Limits; nns.NnsError; nns.BuildSettings") & (HEAVY - {"numpy", "PIL"})
    assert not loaded_by("import nns; nns.Limits; nns.NnsError; nns.__version__") & HEAVY


def test_help_loads_nothing_heavy():
    code = """
import contextlib, io
sys.argv = ["nns", "--help"]
from nns.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        main()
    except SystemExit as ended:
        assert not ended.code
assert "finetune" in out.getvalue()
"""
    assert not loaded_by(code) & HEAVY


def test_loading_plugins_loads_nothing_heavy():
    assert not loaded_by("import nns; nns.load_plugins()") & (HEAVY - {"numpy"})
