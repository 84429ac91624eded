"""`nns plugins new`: what it writes passes its own tests and is found by its entry point; each hook has a page."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import nns.hookspecs
from nns.errors import UnknownNameError, UsageError
from nns.plugins import load_plugins
from nns.plugins.starting import PLUGIN_KINDS, start_plugin

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in vars(nns.hookspecs) if name.startswith("nns_register_")]
PREFIX = "nns_register_"


@pytest.fixture(params=PLUGIN_KINDS)
def written(request, tmp_path):
    """Write a plugin of each kind."""
    start_plugin(f"acme-{request.param}s", request.param, tmp_path)
    return request.param, tmp_path / f"acme-{request.param}s"


def test_it_is_found_by_its_entry_point(written, install, monkeypatch):
    kind, root = written
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["name"] == root.name
    ((point, module),) = project["entry-points"]["nns"].items()
    assert point.endswith("commands") == (kind == "command")
    monkeypatch.syspath_prepend(str(root / "src"))
    source = (root / "src" / module / "__init__.py").read_text()
    install(f"{module}_twin", source, point)
    import_module(module)
    registry = load_plugins()
    assert not [failure for failure in registry.failures if failure.name == point]
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == point]
    assert [registered for registered, _ in plugin.registered] == [kind]
    if kind != "zoo":  # which is still to be built
        assert list(registry.try_factories(plugin)) == []


def test_its_tests_pass(written):
    kind, root = written
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=root, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert ("1 skipped" if kind == "zoo" else " passed") in done.stdout


def test_no_word_of_a_template_is_left(written):
    for path in written[1].rglob("*.*"):
        if path.is_file():
            text = path.read_text()
            assert not [word for word in ("@name@", "@module@", "@Class@", "@thing@", "@kind@") if word in text], path


@pytest.mark.parametrize("name", ["", "1net", "acme nets", "../x", "acme-", "nns", "json", "class", "aä", "a/b"])
def test_names_that_no_distribution_can_have(name, tmp_path):
    with pytest.raises(UsageError):
        start_plugin(name, "probe", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    start_plugin("acme-x", "probe", tmp_path)
    with pytest.raises(UsageError, match="is there already"):
        start_plugin("acme-x", "backend", tmp_path)
    with pytest.raises(UnknownNameError, match="kind of plugin"):
        start_plugin("acme-y", "prob", tmp_path)


def test_the_command(nns, tmp_path):
    done = nns("plugins", "new", "acme-x", "--kind", "probe", "-o", tmp_path)
    assert done.code == 0, done.err
    assert [Path(line).is_file() for line in done.out.splitlines()] == [True] * 5
    assert "pip install -e" in done.err
    assert nns("plugins", "new", "acme-x", "--kind", "probe", "-o", tmp_path).code == 2
    said = nns("plugins", "new", "acme-y", "--kind", "zoo", "-o", tmp_path, "--json")
    assert (said.json["name"], said.json["kind"], said.json["folder"]) == ("acme-y", "zoo", str(tmp_path / "acme-y"))
    assert all(Path(file).is_file() for file in said.json["files"])
    assert len(said.json["files"]) == 4
    assert not said.err


def test_the_wheel_has_the_templates(tmp_path):
    from zipfile import ZipFile

    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as files:
        names = set(files.namelist())
    templates = ROOT / "src" / "nns" / "plugins" / "templates"
    wanted = {f"nns/plugins/templates/{path.relative_to(templates).as_posix()}" for path in templates.rglob("*.txt")}
    assert len(wanted) > 20
    assert wanted <= names


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_its_page(hook):
    kind = hook.removeprefix(PREFIX).removesuffix("s")
    page = (ROOT / "docs" / "kinds" / f"{kind}.md").read_text(encoding="utf-8")
    assert f"    {hook}{inspect.signature(getattr(nns.hookspecs, hook)).__str__()}".replace("'", "") in page
    assert f"kinds/{kind}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    if kind in PLUGIN_KINDS:
        assert f"nns plugins new acme --kind {kind}" in page
