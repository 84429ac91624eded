"""What goes where: results to stdout, the rest to stderr; names from files cannot drive the terminal."""

from __future__ import annotations

import json

import pytest

from nns.cli.output import note, print_json, print_table
from nns.cli.text import printable

ESCAPE = "\x1b[31mred\x1b[0m \x07 [bold]loud[/bold]"


def test_printable_escapes_control_characters():
    assert printable("a\x1b[31mb\x07\r\x9b") == "a\\x1b[31mb\\x07\\r\\x9b"
    assert printable("Übergröße 数字\n") == "Übergröße 数字\n"
    assert printable("a\u202eb") == "a\\u202eb"  # right-to-left override


def test_tables_and_notes_print_names_as_they_are(capsys):
    print_table(ESCAPE, [("name", "left"), ("", "right")], [[ESCAPE, "1"]], caption=ESCAPE)
    note(ESCAPE)
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(out + err)
    assert out.count("\\x1b[31mred") == 3
    assert out.count("[bold]loud[/bold]") == 3


def test_a_title_is_not_wrapped_to_a_narrow_table(capsys):
    print_table("the title is much longer than the table", [("a", "left")], [["b"]])
    assert capsys.readouterr().out.startswith("the title is much longer than the table\n")


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": (1, [float("inf")])})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, [None]]}


def test_errors_are_escaped(nns):
    done = nns("search", "/nowhere\x1b[2J")
    assert "\x1b" not in done.err
    assert "error: " in done.err


def test_names_in_a_zoo_are_escaped(nns, tmp_path):
    from nns.stores import HDF5Store
    from nns.testing._store import sample_network

    with HDF5Store(tmp_path / "zoo.h5") as store:
        store.add_network(sample_network(1, id="1b" * 8, source_dataset=ESCAPE, license=ESCAPE))
    for arguments in (("ls",), ("info",), ("show", "1b")):
        command, *rest = arguments
        done = nns("zoo", command, tmp_path / "zoo.h5", *rest)
        assert done.code == 0
        assert "\x1b" not in done.out + done.err
        document = nns("zoo", command, tmp_path / "zoo.h5", *rest, "--json")
        assert "\x1b" not in document.out
        document.json  # noqa: B018 - it is one document


@pytest.mark.parametrize(
    "line",
    [
        "plugins",
        "doctor {query}",
        "zoo ls {zoo}",
        "zoo info {zoo}",
        "zoo verify {zoo} --quick",
        "space show {zoo}",
        "architectures example:plain-w8-d3",
        "search {query} --zoo {zoo}",
    ],
)
def test_json_is_one_document_and_stderr_is_silent(line, nns, small_zoo):
    done = nns(*line.format(query=small_zoo.query, zoo=small_zoo.path).split(), "--json")
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.json, dict)
    shown = nns(*line.format(query=small_zoo.query, zoo=small_zoo.path).split())
    assert shown.code == 0
    assert shown.out or shown.err


def test_a_long_caption_is_not_broken_where_it_would_be_copied(capsys):
    command = "nns predict " + "x" * 200 + " IMAGE..."
    print_table("title", [("a", "left")], [["b"]], caption=command)
    assert command in capsys.readouterr().out.splitlines()


EVIL = "a\x1b[2J\rb\nFORGED \u202e\x9b"


def test_a_fault_is_shown_with_what_a_file_says_escaped(nns, monkeypatch, small_zoo):
    """Whatever a library puts into its message, no name out of a stranger's file drives the terminal."""
    from nns.zoo import Zoo

    def broken(*args):
        try:
            raise KeyError(EVIL)
        except KeyError as error:
            raise RuntimeError(f"cannot use {EVIL}") from error

    monkeypatch.setattr(Zoo, "__init__", broken)
    done = nns("zoo", "ls", small_zoo.path)
    assert done.code == 1
    assert "RuntimeError: cannot use a\\x1b[2J\\rb\\nFORGED \\u202e\\x9b" in done.err
    assert "KeyError" in done.err
    assert "test_output.py" in done.err
    assert not any(line.startswith("FORGED") for line in done.err.splitlines())
    assert all(line.isprintable() for line in done.err.split("\n"))


def test_what_is_logged_is_escaped(nns, monkeypatch, small_zoo, capsys):
    import logging

    from nns.zoo import Zoo

    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own; then Python's last resort writes

    def logged(*args, **more):
        logging.getLogger("nns").warning("fetching %s", EVIL)
        raise OSError(2, EVIL, EVIL)

    monkeypatch.setattr(Zoo, "__init__", logged)
    done = nns("zoo", "ls", small_zoo.path)
    assert "fetching a\\x1b[2J" in done.err
    assert all(line.isprintable() for line in done.err.split("\n"))
    assert not any(line.startswith("FORGED") for line in done.err.splitlines())


def test_without_a_terminal_lines_say_how_far_it_is(capsys, monkeypatch):
    """A log of CI in which nothing happens for half an hour looks like a hang."""
    import time

    from nns.cli import output

    monkeypatch.setattr(output, "SAY_EVERY", 0.05)
    with output.progress_bar() as update:
        time.sleep(0.2)
        assert capsys.readouterr().err == "", "nothing has begun"
        update("reading images", 320, 1980)
        time.sleep(0.3)
        update("epochs of a\x1b[2J", 3, None, "validation accuracy 81.0%")
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("reading images: 320 of 1980 · ")
    assert lines[-1].startswith("epochs of a\\x1b[2J: 3 · validation accuracy 81.0% · ")
    assert 2 <= len(lines) <= 4, "what has not changed is said again after a while only"
    time.sleep(0.2)
    assert capsys.readouterr().err == "", "and it ends with it"


def test_a_build_without_a_terminal_says_how_far_it_is(capsys, monkeypatch):
    import time

    from nns.building import BuildEvent
    from nns.cli import output
    from nns.cli.build_display import build_display

    monkeypatch.setattr(output, "SAY_EVERY", 0.05)
    with build_display() as take:
        take(BuildEvent("start", 3, 12, 0, 0, 2, 0, 1.0))
        time.sleep(0.3)
    assert "networks: 3 of 12 · 2 running, 0 of 0 transfers" in capsys.readouterr().err
