"""Nothing is unpickled and nothing evaluated: what comes from a file cannot run code, unless --trust-pickle asks."""

from __future__ import annotations

import ast
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import nns

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from store import making

ROOT = Path(__file__).parents[1]
SOURCE = Path(nns.__path__[0])
FILES = [*sorted(SOURCE.rglob("*.py")), *sorted((ROOT / "plugins").glob("*/src/**/*.py"))]
TRUSTED = "backends/checkpoint.py"
"""The one place that honours ``--trust-pickle``."""

PICKLES = {"pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PICKLES |= {"jsonpickle", "copyreg", "yaml", "ruamel", "pandas"}
MAY_IMPORT = {TRUSTED: {"pickle"}, "backends/timm/weights.py": {"pickle"}}
"""Who may import pickle: for its exception alone, as a test below sees to."""

EVALUATES = {"eval", "exec", "compile", "__import__", "execfile", "builtins.eval", "builtins.exec"}
RUNS = {"os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.posix_spawn", "pty.spawn"}
NO_PICKLES = {"np.load"}
"""Calls that unpickle only if told so, and here must say that they do not."""
UNPICKLES = {"numpy.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"}
UNPICKLES |= {"torch.serialization.load", "np.lib.format.read_array", "numpy.lib.format.read_array"}
WEIGHTS_ONLY = {"torch.load", "torch.hub.load_state_dict_from_url"}
"""Calls that unpickle unless told ``weights_only=True``."""

HIDES = {"pickle", "torch", "numpy", "os", "builtins"}
"""Modules out of which no function above may be imported by its bare name, where the tests would not see it."""

PASSES_ON = "building/checkpoints.py"
"""What hands ``--trust-pickle`` of ``nns zoo add`` on to it."""

UNPICKLES_APART = "tans/unpickling.py"
"""What hands ``--trust-pickle`` on to it, in a process that only gives tensors back."""

STARTS_PROCESSES = {"building/executors/local.py", "testing/_backend.py", "tans/supernets.py"}
STARTS_PROCESSES |= {"bench/choosers/timing.py", "serving/rates.py"}
"""Who may start processes: workers of a build, to which multiprocessing sends what this program made; a test; what has
pickled modules unpickled apart; what times a search from a cold start; and (it starts none) numbers that processes of a
server share."""


def name_of(path):
    return path.relative_to(SOURCE if path.is_relative_to(SOURCE) else ROOT).as_posix()


def nodes(path, *kinds):
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]


def imports(path):
    """Give the modules that a file imports, and what it takes out of them."""
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)


every_file = pytest.mark.parametrize("path", FILES, ids=name_of)


@every_file
def test_imports(path):
    allowed = MAY_IMPORT.get(name_of(path), set())
    for module, _ in imports(path):
        assert module.partition(".")[0] not in PICKLES - allowed, module
    processes = {module.partition(".")[0] for module, _ in imports(path)} & {"multiprocessing", "subprocess"}
    assert not processes or name_of(path) in STARTS_PROCESSES


@every_file
def test_names_are_not_hidden(path):
    forbidden = EVALUATES | RUNS | UNPICKLES | WEIGHTS_ONLY | NO_PICKLES
    for module, taken in imports(path):
        if module.partition(".")[0] in HIDES:
            assert taken not in {name.rpartition(".")[2] for name in forbidden if "." in name}, f"{module}.{taken}"
    for node in nodes(path, ast.Import):
        for alias in node.names:
            assert alias.asname in (None, "np", "nn", "functional", "F") or alias.name not in HIDES


@every_file
def test_calls(path):
    for call in nodes(path, ast.Call):
        name = ast.unparse(call.func)
        assert name not in EVALUATES | RUNS | UNPICKLES, name
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert arguments.get("allow_pickle", "False") == "False"
        assert arguments.get("shell", "False") == "False"
        assert name not in NO_PICKLES or arguments.get("allow_pickle") == "False", f"{name} in line {call.lineno}"
        if name == "getattr" and ast.unparse(call.args[0]) in HIDES:
            assert ast.unparse(call.args[1]).startswith("'O_"), "a flag that not every system has"
        if name in WEIGHTS_ONLY:
            expected = "not trust_pickle" if name_of(path) == TRUSTED else "True"
            assert arguments.get("weights_only") == expected, f"{name} in line {call.lineno}"


@every_file
def test_of_pickle_only_its_exception_is_used(path):
    for node in nodes(path, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in PICKLES:
            assert (node.value.id, node.attr) == ("pickle", "UnpicklingError")


def test_the_exception_is_still_there():
    calls = [call for call in nodes(SOURCE / TRUSTED, ast.Call) if ast.unparse(call.func) == "torch.load"]
    assert len(calls) == 1
    trusting = {name_of(path) for path in FILES if "trust_pickle" in path.read_text(encoding="utf-8")}
    assert {name for name in trusting if not name.startswith("cli/")} == {TRUSTED, PASSES_ON, UNPICKLES_APART}


# -- and at run time -------------------------------------------------------------------------------------------------


FIRST = "0000000000000000"
READING = [
    ["zoo", "verify", "ZOO"],
    ["zoo", "ls", "ZOO"],
    ["zoo", "info", "ZOO", "--json"],
    ["zoo", "show", "ZOO", FIRST],
    ["zoo", "merge", "OUT", "ZOO"],
    ["space", "show", "ZOO"],
    ["search", "DATA", "--zoo", "ZOO"],
]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A zoo in which every stretch of free bytes is a pickle that makes the file ``ran``; and images."""
    from nns.testing import tiny_image_folder

    folder = tmp_path_factory.mktemp("pickles")
    good = making.good_zoo(folder / "good.h5")
    columns, about = good.copy()
    payload = pickle.dumps(Payload(str(folder / "ran")))
    making.set_frames(columns, about, good, [making.raw(payload)], [0], weights=payload)
    rows = making.rows_of(columns, "networks")
    rows[0]["provenance"] = {"py/object": "os.system", "py/reduce": payload.hex(), "__reduce__": payload.hex()}
    rows[0]["license"] = "__import__('os').system('true')"
    making.set_meta(columns, "networks", rows)
    making.write_zoo(folder / "zoo.h5", columns, about)
    tiny_image_folder(folder / "images", classes=2, per_class=2)
    return folder


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(str(tmp_path / "ran")))).close()
    assert (tmp_path / "ran").exists()


def arguments(command, folder):
    names = {"ZOO": "zoo.h5", "DATA": "images", "OUT": "out.h5"}
    return [str(folder / names[word]) if word in names else word for word in command]


def refuse(*args, **more):
    raise AssertionError("something was unpickled")


@pytest.mark.parametrize("command", READING[:-1], ids=" ".join)
def test_reading_with_a_broken_pickle(command, zoo, nns, monkeypatch):
    for name in ("load", "loads", "Unpickler", "_load", "_loads", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    done = nns(*arguments(command, zoo))
    assert done.code == (4 if command[1] == "verify" else 0), done.err  # the pickle is no safetensors
    assert not (zoo / "ran").exists()


WATCH = """
import json, os, sys
seen = []
def watch(event, args):
    if event in {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}:
        seen.append([event, repr(args)])
    if event == "socket.connect" or (event == "subprocess.Popen" and args[0] not in {"uname", "/sbin/ldconfig"}):
        seen.append([event, repr(args)])  # those two: platform.processor, and ctypes.util when torch is imported
sys.addaudithook(watch)
from nns.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["nns", *command]
    try:
        main()
    except SystemExit as ended:
        if ended.code not in (0, None, 4):
            raise
print(json.dumps(seen), file=sys.stderr)
"""


def test_reading_under_an_audit_hook(zoo):
    """No class is looked up by a pickle, no process started, nothing connected to: Python itself tells."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps([arguments(command, zoo) for command in READING])],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert not (zoo / "ran").exists()
