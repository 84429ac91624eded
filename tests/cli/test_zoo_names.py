"""A zoo from a stranger, whose every name is hostile: nothing of it reaches the terminal as more than a name."""

from __future__ import annotations

import sys

import pytest

from nns.cli.output import note, print_json, print_table, progress_bar
from nns.stores import HDF5Store
from nns.testing._store import (
    sample_dataset,
    sample_network,
    sample_space,
    sample_subnet,
    sample_supernet,
    sample_transfer,
)
from nns.types import ArchitectureSpec, LatencyRecord, Provenance

CONTROLS = "\x1b]0;owned\x07\x1b[2J\x08\r\x7f\x85\x9b2J"
INVISIBLE = "\u202e\u202a\u2066\u2069\u200b\u200d\ufeff\u2028\u00ad\U000e0041"
LINES = "\nerror: all is well\n"
MARKUP = "[red]r[/red] [link=http://x]l[/link] [/] :smile: \\"
EVIL = f"{CONTROLS}{INVISIBLE}{LINES}{MARKUP}"


@pytest.fixture
def evil(tmp_path):
    path = tmp_path / "zoo.h5"
    spec = ArchitectureSpec(EVIL, EVIL, {EVIL: EVIL}, EVIL)
    names = {"spec": spec, "source_dataset": EVIL, "license": EVIL, "classes": (EVIL, "b")}
    with HDF5Store(path) as store:
        supernet, subnet = sample_supernet(1), sample_subnet(1, 1)
        store.add_network(sample_network(2, **names, provenance=Provenance(extra={EVIL: [EVIL]}), accuracy=0.3))
        store.add_network(sample_network(3, **names | {"license": EVIL * 2}))
        store.add_supernet(supernet)
        store.add_network(subnet)
        store.add_dataset(sample_dataset(EVIL))
        store.put_transfers([sample_transfer(2, EVIL, recipe={EVIL: EVIL})])
        store.put_latencies([LatencyRecord(f"{2:016x}", EVIL, 0.1)])
        store.put_space(sample_space("mixed"))
    return path


def is_harmless(text):
    return all(line.isprintable() for line in text.split("\n"))


VERBS = {
    "ls": 0,
    "ls --sort size": 0,
    "ls --dataset nothing": 2,
    "info": 0,
    "show 0000000000000002": 0,
    "verify": 0,  # an accuracy of 3 that it had to name cannot be written any more (tests/stores/test_bounds.py)
    "verify --quick": 0,
    "gc --dry-run": 0,
    "gc": 0,
    "rm 0000000000000002": 0,
    "rm --dataset nothing": 2,
    "export 0000000000000002 -o out": 2,
}


@pytest.mark.parametrize("line", VERBS)
def test_hostile_names_stay_names(line, nns, evil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verb, *more = line.split()
    document = nns("zoo", verb, evil, *more, "--json") if verb != "rm" else None
    done = nns("zoo", verb, evil, *more)
    assert done.code == VERBS[line], done
    assert is_harmless(done.out)
    assert is_harmless(done.err)
    assert not any(row.startswith("error: all is well") for row in (done.out + done.err).splitlines())
    if document is not None:
        assert is_harmless(document.out)
        assert is_harmless(document.err)
        if VERBS[line] != 2:
            document.json  # noqa: B018 - it is one document
    assert {path.name for path in tmp_path.iterdir()} <= {"zoo.h5", "zoo.h5.journal"}, "a name became a path"


def test_hostile_names_stay_names_in_a_diff(nns, evil, tmp_path):
    other = tmp_path / "other.h5"
    spec = ArchitectureSpec(EVIL, EVIL, {EVIL: EVIL}, EVIL)
    names = {"spec": spec, "source_dataset": EVIL, "license": EVIL, "classes": (EVIL, "b")}
    with HDF5Store(other) as store:
        store.add_network(sample_network(2, **names, provenance=Provenance(extra={EVIL: [EVIL] * 2})))
        store.add_network(sample_network(4, **names))
        store.add_dataset(sample_dataset(f"{EVIL}, too"))
    for pair in ((evil, other), (other, evil)):
        for done in (nns("zoo", "diff", *pair), nns("zoo", "diff", *pair, "--json")):
            assert (done.code, done.err) == (0, "")
            assert is_harmless(done.out)
            assert not any(row.startswith("error: all is well") for row in done.out.splitlines())


def test_json_keeps_the_names_as_they_are(nns, evil):
    found = nns("zoo", "show", evil, f"{2:016x}", "--json").json
    assert (found["source_dataset"], found["class_names"]) == (EVIL, [EVIL, "b"])
    assert (found["provenance"], found["config"]) == ({EVIL: [EVIL]}, {EVIL: EVIL})
    assert list(found["latency_ms"]) == [EVIL]
    assert found["transfers"][0]["dataset"] == EVIL


def test_json_is_ascii(capsys):
    print_json({"a": "dög 数字 \u202e\x7f\x9b\ud800\U000e0041"})
    assert '"a": "d\\u00f6g \\u6570\\u5b57 \\u202e\\u007f\\u009b\\ud800\\udb40\\udc41"' in capsys.readouterr().out


def test_markup_links_and_emoji_are_shown_as_they_are(capsys):
    print_table(MARKUP, [("name", "left")], [[MARKUP]], caption=MARKUP)
    note(MARKUP)
    out, err = capsys.readouterr()
    assert out.count(MARKUP) == 3
    assert err == MARKUP + "\n"


def test_what_is_escaped_is_shown(capsys):
    note("a\x1b[31m\u202eb\x7f\nc")
    assert capsys.readouterr().err == "a\\x1b[31m\\u202eb\\x7f\\nc\n"


def test_the_progress_bar_takes_no_markup(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    with progress_bar() as update:
        update(f"on {MARKUP}", 1, 2, f"at {EVIL}")
    shown = capsys.readouterr().err
    assert f"on {MARKUP}" in shown
    assert "\x1b]" not in shown
    assert "\u202e" not in shown
    assert "\\x1b]0;owned" in shown
