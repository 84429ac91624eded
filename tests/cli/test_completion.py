"""Completion of values: what the shells get, quickly, silently, and nothing that a shell could run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from nns.cli import completion
from nns.stores import HDF5Store
from nns.testing._store import sample_network, sample_space, sample_supernet
from nns.types import ArchitectureSpec

ODD = "$(touch owned) `x` 'a\" ;b"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "zoo.h5"
    odd = ArchitectureSpec("sample", ODD, {}, "random")
    with HDF5Store(path) as store:
        networks = [sample_network(number, source_dataset=f"data-{number}") for number in (1, 2)]
        networks.append(sample_network(0xAB, spec=odd, source_dataset=ODD, license=ODD))
        store.add_all([*networks, sample_supernet(3)])
        store.put_space(sample_space("mixed"))
    return path


NNS = "import sys; sys.argv = ['nns']; from nns.cli import main; main()"


def complete(line, shell="bash", **environment):
    """Ask as a shell does: the last word is what is typed so far, and empty after a space."""
    words = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    clean = {name: value for name, value in os.environ.items() if name != "NNS_ZOO"}
    done = subprocess.run(
        [sys.executable, "-c", NNS],
        env={**clean, "_NNS_COMPLETE": f"complete_{shell}", **words, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1] if shell == "bash" else done.stdout


def one_process(line, **environment):
    """Ask in this process: the command line is parsed up to the last word, as typer does it."""
    import typer
    from typer._completion_classes import BashComplete

    from nns.cli.app import app

    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NNS_ZOO", raising=False)
        for name, value in {**words, **environment}.items():
            patch.setenv(name, value)
        return BashComplete(typer.main.get_command(app), {}, "nns", "_NNS_COMPLETE").complete().split()


def name(number):
    return f"{number:016x}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nns zoo ls ZOO --sort ", ["params", "macs", "size", "accuracy", "dataset", "architecture", "id"]),
        ("nns zoo ls ZOO --sort a", ["accuracy", "architecture"]),
        ("nns zoo ls ZOO --dataset ", ["data-1", "data-2"]),
        ("nns zoo rm ZOO --dataset data-2", ["data-2"]),
        ("nns zoo ls ZOO --backend ", ["sample"]),
        ("nns zoo ls ZOO --license ", ["Apache-2.0"]),
        ("nns zoo show ZOO ", [name(1), name(2), name(0xAB), sample_supernet(3).entry.id]),
        ("nns zoo show ZOO 00000000000000a", [name(0xAB)]),
        ("nns zoo export ZOO 0000000000000002", [name(2)]),
        ("nns zoo fetch ZOO ", [name(1), name(2), name(0xAB)]),
        ("nns zoo rm ZOO 0000000000000001 0000000000000002", [name(2)]),
        ("nns zoo show ZOO x", []),
        ("nns zoo show ZOO ö", []),
        ("nns finetune ./data --zoo ZOO --network ", [name(1), name(2), name(0xAB)]),
        ("nns finetune ./data --zoo ZOO --teacher 00000000000000a", [name(0xAB)]),
        ("nns search ./data --zoo ZOO --space ", ["mixed"]),
        ("nns search ./data --zoo ZOO --device c", ["cpu", "cuda"]),
        ("nns export ./model --format ", ["safetensors", "onnx", "pt2"]),
        ("nns zoo build ZOO --strategy ", ["pareto", "random", "all"]),
        ("nns zoo build ZOO --executor r", ["ray"]),
        ("nns zoo build ZOO --weights fp", ["fp32", "fp16"]),
        ("nns repro record lock.json --method ", ["mixed", "tans"]),
        ("nns repro record lock.json --finetune-recipe d", ["default"]),
        ("nns repro record lock.json --export p", ["pt2"]),
        ("nns repro record lock.json --stages data,z", ["data,zoo"]),
        ("nns repro check lock.json --stages data,zoo,s", ["data,zoo,search"]),
        ("nns repro check lock.json --stage f", ["fit", "finetune"]),
        ("nns repro record lock.json --backend tim", ["timm"]),
        ("nns bench run --method m", ["mixed"]),
        ("nns bench make ZOO ./data --device c", ["cpu", "cuda"]),
        ("nns space fit ZOO --method t", ["tans"]),
        ("nns finetune ./data --recipe ", ["default", "tans"]),
        ("nns finetune ./data --log-to ", ["tensorboard", "csv"]),
        ("nns plugins new acme-nets --kind e", ["extractor"]),
        ("nns plugins new acme-nets --kind z", ["zoo"]),
        ("nns architectures tim", ["timm"]),
    ],
)
def test_values(line, expected, zoo):
    assert one_process(line.replace("ZOO", str(zoo))) == expected


def test_the_zoo_of_the_environment(zoo):
    line = "nns finetune ./data --network "
    assert one_process(line, NNS_ZOO=str(zoo)) == [name(1), name(2), name(0xAB)]
    assert one_process(line) == []


def test_installed_backends_with_those_of_plugins():
    from nns.plugins import installed_plugins

    installed = installed_plugins().names("backend")
    assert {"example", "ofa", "timm"} <= set(installed)
    for line in (
        "zoo build new.h5 --backend ",
        "zoo add new.h5 net.pt --backend ",
        "repro record lock.json --backend ",
    ):
        assert one_process(f"nns {line}") == sorted(installed)


def test_what_nns_registers_is_what_is_offered():
    from nns.plugins import installed_plugins

    for kind, names in completion.OWN.items():
        own = {
            name for each in installed_plugins().plugins if each.builtin for of, name in each.registered if of == kind
        }
        assert own == set(names)


def test_zoos_of_plugins():
    from nns.plugins import installed_plugins

    offered = [f"plugin:{name}" for name in installed_plugins().names("zoo")]
    assert one_process("nns repro record lock.json --zoo ") == offered


def test_nothing_is_imported_that_takes_long(zoo):
    """A shell waits: 0.1 to 0.3 s of processor time each, of which Python and typer are 0.08."""
    code = (
        "import os, sys\n"
        "os.environ.update(_NNS_COMPLETE='complete_bash', COMP_WORDS=sys.argv[1], COMP_CWORD=sys.argv[2])\n"
        "sys.argv = ['nns']\n"
        "import atexit\n"
        "heavy = ('pydantic', 'torch', 'numpy', 'nns.cli.search', 'nns.cli.zoo')\n"
        "atexit.register(lambda: print(*(n for n in heavy if n in sys.modules), file=sys.stderr))\n"
        "from nns.cli import main; main()"
    )
    for line, imported in {
        "nns finetune ./data --device ": [],
        "nns repro check lock.json --stages ": [],
        f"nns zoo show {zoo} ": ["numpy", "nns.cli.zoo"],
        "nns ": ["nns.cli.search", "nns.cli.zoo"],
    }.items():
        done = subprocess.run(
            [sys.executable, "-c", code, line, str(len(line.split(" ")) - 1)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr.split() == imported
        assert done.stdout.strip()


@pytest.mark.parametrize("damage", ["missing", "garbage", "folder", "pipe"])
def test_no_zoo_is_no_error(damage, tmp_path):
    path = tmp_path / "zoo.h5"
    if damage == "garbage":
        path.write_bytes(b"nothing" * 1000)
    elif damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    assert one_process(f"nns zoo show {path} ") == []
    assert one_process(f"nns zoo ls {path} --dataset ") == []


def test_no_ids_rather_than_some(zoo, monkeypatch):
    """Of some only, a shell would complete what all of those begin with."""
    monkeypatch.setattr(completion, "MOST", 2)
    assert one_process(f"nns zoo export {zoo} ") == []
    assert one_process(f"nns zoo export {zoo} 000000000000000") == [name(1), name(2)]


def test_names_are_looked_for_in_so_many_bytes(zoo, monkeypatch):
    monkeypatch.setattr(completion, "READ", 800)
    assert one_process(f"nns zoo ls {zoo} --dataset ") == ["data-1"]


def test_in_processes_of_their_own(zoo):
    """As bash, zsh and fish ask, with all that ``nns`` does before; an empty argument before is no error there."""
    assert complete(f"nns zoo export {zoo} 0000000000000002") == [name(2)]
    assert complete("nns zoo ls '' --sort a") == ["accuracy", "architecture"]
    assert name(2) in (zsh := complete(f"nns zoo export {zoo} 000000000000000", "zsh"))
    assert "net-2 on data-2" in zsh
    fish = complete(f"nns zoo export {zoo} ", "fish")
    assert f"{name(2)}\tsample:net-2 on data-2" in fish
    assert f"{name(0xAB)}\t? on ?" in fish


def test_torch_is_not_imported(zoo):
    code = (
        "import sys; from nns.cli import completion\n"
        "class Context: params = {'zoo': sys.argv[1]}\n"
        "assert all(each(Context, '') for each in (completion.networks, completion.datasets, completion.spaces))\n"
        "completion.installed_backends(Context, '')\n"
        "print([name for name in ('torch', 'timm', 'PIL', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(zoo)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself(zoo, tmp_path):
    """The script that ``--show-completion`` prints, run by bash."""
    (tmp_path / "nns").write_text(f"#!{sys.executable}\n{NNS}\n")
    (tmp_path / "nns").chmod(0o755)
    script = f"""
PATH={tmp_path}:$PATH
eval "$(_NNS_COMPLETE=source_bash nns)"
COMP_WORDS=(nns zoo export {zoo} 00000000000000a); COMP_CWORD=4
_nns_completion nns
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (name(0xAB), "")
