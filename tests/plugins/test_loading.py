from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nns.errors import MissingZooError, PluginError, UnknownNameError, UsageError
from nns.plugins import Backend, load_plugins

BACKEND = """
from nns.plugins import hookimpl

@hookimpl
def nns_register_backends(register):
    register({name!r}, lambda: None)
"""


def failure(registry, name):
    (found,) = [failure for failure in registry.failures if failure.name == name]
    return found


def test_the_built_ins_come_in_through_the_same_door():
    registry = load_plugins()
    assert {"ofa", "timm"} <= set(registry.names("backend"))
    assert {"tans", "mixed"} <= set(registry.names("method"))
    builtin = {plugin.name: plugin for plugin in registry.plugins if plugin.builtin}
    assert {"ofa", "timm", "methods"} <= builtin.keys()
    assert builtin["ofa"].distribution == "nns"
    assert builtin["ofa"].registered == (("backend", "ofa"),)
    for name in ("ofa", "timm"):
        backend = registry.backend(name)
        assert isinstance(backend, Backend)
        assert backend is registry.backend(name), "made once"


def test_an_installed_plugin_is_found(install):
    install("outside", BACKEND.format(name="mine"))
    registry = load_plugins()
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "outside"]
    assert (plugin.distribution, plugin.version, plugin.builtin) == ("outside-dist", "1.2.3", False)
    assert plugin.registered == (("backend", "mine"),)
    assert "mine" in registry.names("backend")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('broken on import')", "ValueError: broken on import"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        (BACKEND.format(name="good") + "    raise RuntimeError('broken in the hook')", "broken in the hook"),
        (BACKEND.format(name=""), "backend '' of 'broken-dist:broken'"),
        (BACKEND.format(name="a:b"), "backend 'a:b'"),
        (BACKEND.format(name="a/b"), "letters, digits"),
        (BACKEND.format(name=7), "backend 7"),
        (BACKEND.format(name="ofa"), "backend 'ofa' of 'broken-dist:broken' is registered already, by 'nns:ofa'"),
        (BACKEND.format(name="good").replace("lambda: None", "'nothing'"), "must be callable"),
        (BACKEND.format(name="good").replace("backends", "backend"), "unknown hook 'nns_register_backend'"),
        (BACKEND.format(name="good").replace("(register)", "(register, more)"), "nns_register_backends"),
    ],
)
def test_a_broken_plugin_is_reported_and_breaks_no_other(install, source, reason):
    install("broken", source)
    install("good", BACKEND.format(name="fine"))
    registry = load_plugins()
    found = failure(registry, "broken")
    assert found.distribution == "broken-dist"
    assert reason in found.reason
    assert {"ofa", "timm", "fine"} <= set(registry.names("backend"))
    assert "good" not in registry.names("backend"), "what a broken plugin registered before it broke is gone"
    assert [plugin.name for plugin in registry.plugins if not plugin.builtin and plugin.name in {"broken", "good"}] == [
        "good"
    ]


def test_of_two_plugins_with_one_name_the_second_is_refused_and_both_are_named(install):
    install("first", BACKEND.format(name="same"))
    install("second", BACKEND.format(name="same"))
    registry = load_plugins()
    reason = failure(registry, "second").reason
    assert "'first-dist:first'" in reason
    assert "'second-dist:second'" in reason
    assert "same" in registry.names("backend")


@pytest.mark.parametrize(
    ("value", "loaded"),
    [("", set()), ("one", {"one"}), (" two , one ", {"one", "two"}), ("none-such", set()), (None, {"one", "two"})],
)
def test_nns_load_plugins_limits_what_comes_from_outside(install, monkeypatch, value, loaded):
    install("one", BACKEND.format(name="b-one"))
    install("two", "raise RuntimeError('imported in spite of the limit')" if loaded < {"two"} else "x = 1")
    if value is None:
        monkeypatch.delenv("NNS_LOAD_PLUGINS", raising=False)
    else:
        monkeypatch.setenv("NNS_LOAD_PLUGINS", value)
    registry = load_plugins()
    assert {plugin.name for plugin in registry.plugins if plugin.name in {"one", "two"}} == loaded
    assert registry.failures == ()
    assert {"ofa", "timm"} <= set(registry.names("backend"))


def registry_of(install, body, name="outside"):
    install(name, "from nns.plugins import *\n" + body)
    return load_plugins()


def test_a_factory_that_gives_something_else(install):
    registry = registry_of(install, BACKEND.format(name="mine"))
    with pytest.raises(PluginError, match=r"backend 'mine' is a NoneType, not an nns\.backends\.Backend"):
        registry.backend("mine")


def test_a_backend_that_calls_itself_otherwise(install):
    registry = registry_of(
        install, BACKEND.format(name="mine").replace("lambda: None", "__import__('nns_example').ExampleBackend")
    )
    with pytest.raises(PluginError, match="registered as 'mine' calls itself 'example'"):
        registry.backend("mine")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("ImportError('no module big')", "needs a package that is not installed: no module big"),
        ("ValueError('oh')", "cannot be made: ValueError: oh"),
    ],
)
def test_a_factory_that_fails(install, raised, message):
    fail = f"lambda: (_ for _ in ()).throw({raised})"
    registry = registry_of(install, BACKEND.format(name="mine").replace("lambda: None", fail))
    with pytest.raises(PluginError, match=message):
        registry.backend("mine")


def test_a_method_may_refuse_its_settings(install):
    registry = registry_of(
        install,
        """
@hookimpl
def nns_register_methods(register):
    def make(size=1):
        if size < 0:
            raise UsageError("size must not be negative")
        return size
    register("mine", make)
""",
    )
    assert registry.make("method", "mine", size=3) == 3
    with pytest.raises(UsageError, match="must not be negative"):
        registry.make("method", "mine", size=-1)
    with pytest.raises(PluginError, match=r"method 'mine' cannot be made: TypeError.*colour"):
        registry.make("method", "mine", colour="red")


def test_unknown_names_are_told_with_a_likely_one():
    registry = load_plugins()
    with pytest.raises(UnknownNameError, match="unknown backend 'tim'; did you mean 'timm'"):
        registry.backend("tim")
    with pytest.raises(UnknownNameError, match="unknown method 'tan'; did you mean 'tans'"):
        registry.make("method", "tan")


def test_without_a_zoo_the_error_says_what_to_do():
    with pytest.raises(MissingZooError, match="nns zoo build"):
        load_plugins([]).default_zoo()


def test_a_zoo_that_is_no_path(install):
    body = "@hookimpl\ndef nns_register_zoos(register):\n    register('mine', lambda: 7)\n"
    with pytest.raises(PluginError, match="zoo 'mine' is a int, not a path"):
        registry_of(install, body).default_zoo()


def test_loading_imports_nothing_heavy():
    code = """
import sys
from nns.plugins import load_plugins
registry = load_plugins()
assert not registry.failures, registry.failures
print(sorted({'torch', 'timm', 'ofa', 'torchvision', 'h5py'} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout == "[]\n"


def test_forgotten_and_misspelled_hooks_are_named_with_those_that_there_are(install):
    install("forgotten", "def nns_register_backends(register):\n    register('x', lambda: None)\n")
    install("misspelled", BACKEND.format(name="good").replace("backends", "backend"))
    install("unmarked", "def nns_register_model(register):\n    pass\n")
    registry = load_plugins()
    forgotten = failure(registry, "forgotten").reason
    assert "nns_register_backends is never called: it lacks the decorator @hookimpl" in forgotten
    for name in ("misspelled", "unmarked"):
        assert "nns_register_backends, nns_register_methods, nns_register_zoos" in failure(registry, name).reason


@pytest.mark.parametrize(
    ("version", "advice"), [("2", "pip install -U nns"), ("0", "update the plugin"), ("'x'", "update the plugin")]
)
def test_a_plugin_for_another_version_of_the_hooks_is_refused(install, version, advice):
    install("other", f"NNS_INTERFACE = {version}\n" + BACKEND.format(name="mine"))
    install("same", "NNS_INTERFACE = 1\n" + BACKEND.format(name="yours"))
    registry = load_plugins()
    reason = failure(registry, "other").reason
    assert f"for version {version} of the hook interface, this nns has version 1" in reason
    assert advice in reason
    assert "yours" in registry.names("backend")
    assert "mine" not in registry.names("backend")


def test_what_plugins_print_is_no_result(install, capsys):
    install("loud", "print('hello')\n" + BACKEND.format(name="mine").replace("lambda: None", "lambda: print('made')"))
    registry = load_plugins()
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == "loud"]
    assert plugin.seconds > 0
    assert list(registry.try_factories(plugin)) == [
        ("backend", "mine", "backend 'mine' is a NoneType, not an nns.backends.Backend")
    ]
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\nmade\n")


def test_strict_makes_everything_and_exits_with_1(install, nns, monkeypatch):
    monkeypatch.setattr("nns.cli.options.load_registry", load_plugins)
    install("good", "from nns.plugins import hookimpl\n")
    plain = nns("plugins", "--json").json
    assert plain["interface"] == 1
    assert all(plugin["seconds"] >= 0 for plugin in plain["plugins"])
    install("zoo", BACKEND.format(name="lost").replace("backends", "zoos").replace("None", "'/nowhere.h5'"))
    install("broken", "import no_such_module_anywhere")
    assert nns("plugins").code == 0
    ran = nns("plugins", "--strict")
    assert ran.code == 1
    assert "failed: zoo-dist:zoo: zoo 'lost': there is no file '/nowhere.h5'" in ran.err
    assert "failed: broken-dist:broken: ModuleNotFoundError" in ran.err
    strict = nns("plugins", "--strict", "--json")
    assert (strict.code, len(strict.json["failures"])) == (1, 2)
