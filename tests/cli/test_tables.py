"""Tables in narrow terminals: ids, numbers and headings are whole, columns go by importance, and that is said."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nns.cli.output import print_table
from nns.cli.table_layout import JOINT, UNIT, fold_text, lay_out

WIDTHS = [60, 80, 120]
COLUMNS = [("network", "left"), ("architecture", "left"), ("trained on", "left"), ("accuracy", "right")]
COLUMNS += [("params", "right"), ("MACs", "right"), ("license", "left")]
ROWS = [
    ["9533d5e78e", "timm:vit_base_patch16_clip_224.openai_ft_in12k_in1k", "imagenet-12k", "81.2%", "85.8 M", "4.41 G"],
    ["e655cae720", "ofa:mbv3-w1.2-c4262716", "handwritten digits of the world", "9.7%", "999 k", "4.41 M"],
]
LICENSES = ["Apache-2.0", "CC-BY-NC-4.0"]


def table(width, least=("license", "MACs", "params")):
    return lay_out(COLUMNS, [[*row, name] for row, name in zip(ROWS, LICENSES)], width, least=least)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_shown_is_whole_and_what_is_not_is_named(width):
    found = table(width)
    text = "\n".join([*found.head, *found.body])
    assert max(map(cell_len, text.splitlines())) <= width
    for number, (heading, side) in enumerate(COLUMNS):
        assert (heading in found.head[0]) == (heading not in found.left_out)
        for row in ROWS:
            if heading not in found.left_out and (side == "right" or heading == "network"):
                assert row[number] in text


def test_columns_go_by_importance():
    gone = [table(width).left_out for width in range(200, 20, -1)]
    assert gone[0] == ()
    order = list(dict.fromkeys(name for names in gone for name in names))
    assert order[:3] == ["license", "MACs", "params"]
    assert gone[-1] == ("architecture", "trained on", "accuracy", "params", "MACs", "license")
    assert all(set(before) <= set(after) for before, after in pairwise(gone))


def test_the_first_column_and_a_long_word_in_it_stay():
    digest = "ee6e606115f37f636a26cd8a2d61171b4e403878bdfd3a1b0b1812c3b57eae12"
    found = lay_out([("digest", "left"), ("n", "right")], [[digest, "1"]], 40)
    assert found.left_out == ("n",)
    assert digest in found.body[0]


def test_a_digest_beside_its_name_is_whole_and_the_rest_fits():
    digest = "ee6e606115f37f636a26cd8a2d61171b4e403878bdfd3a1b0b1812c3b57eae12"
    words = "datasets with query features and more of them than fit on one line of a terminal"
    found = lay_out([("", "left"), ("", "left")], [["digest", digest], ["latency measured on", words]], 60)
    assert digest in found.body[0]
    assert all(cell_len(line) <= 60 for line in found.body[1:])
    assert found.body[1].startswith("latency measured on", 1)
    assert found.head == found.left_out == ()


def test_numbers_keep_their_units():
    for width in range(20, 60):
        found = lay_out([("what", "left"), ("n", "right")], [["8.48 MB in 7.15 MB, 20 ms, 5 % of 12 GB", "1"]], width)
        text = "\n".join(found.body)
        assert all(piece in text for piece in ("8.48 MB", "7.15 MB", "20 ms", "5 %", "12 GB"))


words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(words, texts, texts), min_size=1, max_size=4), st.integers(30, 120))
def test_no_character_is_lost(rows, width):
    found = lay_out([("a", "left"), ("b", "left"), ("c", "right")], [list(row) for row in rows], width)
    shown = "".join(found.body).replace(" ", "")
    for row in rows:
        for heading, cell in zip("abc", row):
            if heading not in found.left_out and heading != "c":
                assert sorted(cell.replace(" ", "")) == sorted(
                    character for character in cell.replace(" ", "") if character in shown
                )


@given(texts, st.integers(10, 100))
def test_a_sentence_is_broken_between_words_only(text, width):
    folded = fold_text(text, width)
    assert folded.replace("\n", " ") == text
    # a number and its unit are one word
    assert all(cell_len(line) <= width or " " not in UNIT.sub(JOINT, line) for line in folded.split("\n"))


def test_a_file_has_all_columns(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table("title", COLUMNS, [[*row, name * 9] for row, name in zip(ROWS, LICENSES)])
    out = capsys.readouterr().out
    assert "No room" not in out
    assert all(heading in out for heading, _ in COLUMNS)


def on_terminal(width, *arguments):
    """Run nns on a terminal of its own, and return what it shows."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "dumb"}
    command = [sys.executable, "-c", "from nns.cli import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment) as process:
        os.close(inner)
        found = b""
        while True:
            try:
                part = os.read(outer, 65536)
            except OSError:
                break
            if not part:
                break
            found += part
    os.close(outer)
    assert process.returncode == 0
    return found.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "line",
    ["zoo ls {zoo}", "zoo info {zoo}", "space show {zoo}", "search {query} --zoo {zoo} --probe --explain"],
)
def test_commands_on_a_terminal(small_zoo, line, width):
    shown = on_terminal(width, *line.format(zoo=small_zoo.path, query=small_zoo.query).split())
    lines = shown.replace("\r", "\n").splitlines()
    unbroken = [each for each in lines if cell_len(each.strip()) > width]
    assert all(len(each.split()) <= 2 for each in unbroken), unbroken  # a digest or a path
    if "ls" in line:
        assert ("No room here for" in shown) == (width == 60)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_bars_show_parts_that_are_whole(width):
    import io

    from rich.console import Console
    from rich.progress import Progress

    from nns.cli.bars import Fitted, Part, described

    console = Console(file=io.StringIO(), width=width, height=20, force_terminal=True)
    notes = ["validation accuracy 93.4%", "1234 images/s", "birds 87.5%"]

    def parts(task):
        return task.description, [Part("12/50", 0), Part("0:12:34", 2), *described(" · ".join(notes), 1, 3)]

    with Progress(Fitted(console, parts), console=console, auto_refresh=False) as progress:
        progress.add_task("9533d5e78e04f2a1", total=50, completed=12)
        progress.refresh()
    shown = console.file.getvalue().replace("\r", "\n").splitlines()
    line = next(each for each in shown if "9533d5e78e04f2a1" in each)
    pieces = [piece for part in line.split("  ") for piece in part.split(" · ") if piece and piece[0] != "\x1b"]
    assert "12/50" in line or width == 20
    assert cell_len(line) < width + line.count("\x1b") * 12
    assert {piece.strip() for piece in pieces} & {"12:34", "93.4%"} == set()
    assert all(note in line or not any(word in line for word in note.split()) for note in notes)
