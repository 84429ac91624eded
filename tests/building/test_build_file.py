"""Recipes: what they say, what is wrong with them and on which line, and that they can be written."""

from __future__ import annotations

import contextlib
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nns import UnknownNameError, UsageError
from nns.building import BuildSettings, SearchSpace, read_build_file, write_build_file
from nns.building.settings import OBJECTIVES, STRATEGIES, WEIGHTS
from nns.building.toml_lines import KeyFinder
from nns.untrusted import RECIPE

DOCS = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe and give its path."""

    def write(content):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "recipe.toml").write_bytes(content)
        return tmp_path / "recipe.toml"

    return write


def complaint(path):
    """The message about a recipe, which must be of one line, and the line that it names (None: none)."""
    with pytest.raises(UsageError) as caught:
        read_build_file(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    found = re.match(rf"recipe {re.escape(repr(str(path)))}(?:, line (\d+))?: (.*)", message)
    assert found, message
    return found[1] and int(found[1]), found[2]


# what a recipe says


def test_an_empty_recipe_has_the_defaults(recipe):
    assert read_build_file(recipe("")) == BuildSettings()
    assert read_build_file(recipe("# nothing yet\n\n")) == BuildSettings()


def test_a_recipe_is_read_relative_to_its_file(recipe, tmp_path):
    path = recipe(
        'data = ["birds", "/abs/tiles", "torchvision:CIFAR10"]\nbackends = ["timm:mobilenet*"]\n'
        "networks = 12\nimage_size = 48\nmax_images = 100\npretrained = false\nepochs = 2\nseed = 7\n"
    )
    assert read_build_file(path) == BuildSettings(
        data=(str(tmp_path / "birds"), "/abs/tiles", "torchvision:CIFAR10"),
        backends=("timm:mobilenet*",),
        networks=12,
        image_size=48,
        max_images=100,
        pretrained=False,
        epochs=2,
        seed=7,
    )


SPACES = {"timm": SearchSpace(("resnet10t",), 20, 32, 15), "ofa": SearchSpace()}


@pytest.mark.parametrize(
    "spaces",
    [
        "[spaces.timm]\narchitectures = ['resnet10t']\ncandidates = 20\nimage_size = 32\nepochs = 15\n[spaces.ofa]",
        "[spaces]\nofa = {}\ntimm = {architectures=['resnet10t'], candidates=20, image_size=32, epochs=15}",
        "spaces.timm.candidates = 20\nspaces.'timm'.epochs = 15\nspaces.ofa = {}\nspaces . timm . image_size = 32\n"
        'spaces."t\\u0069mm".architectures = [ # of timm\n "resnet10t",\n]',
    ],
    ids=["tables", "inline", "dotted"],
)
def test_search_spaces_however_they_are_written(spaces, recipe):
    text = 'strategy = "random"\nobjectives = ["latency", "macs"]\nround = 5\ntransfers = 4\ntransfer_epochs = 2\n'
    assert read_build_file(recipe(f'{text}halving = false\nweights = "fp16"\nmax_images = "all"\n{spaces}')) == (
        BuildSettings(
            strategy="random",
            objectives=("latency", "macs"),
            round=5,
            transfers=4,
            transfer_epochs=2,
            halving=False,
            weights="fp16",
            max_images=None,
            spaces=SPACES,
        )
    )


@pytest.mark.parametrize(
    "change", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n")], ids=["bom", "crlf"]
)
def test_files_of_windows(change, recipe):
    assert read_build_file(recipe(change(b"networks = 3\n\nseed = 4\n"))) == BuildSettings(networks=3, seed=4)


# what is wrong with it, and where

TABLES = 'backends = ["ofa", "timm"]\n\n[spaces.timm]\ncandidates = 20\n'

MISTAKES = [
    # keys
    ("netwroks = 3", 1, "unknown key 'netwroks'; did you mean 'networks'? (known: backends, data, "),
    ("seed = 1\n\n'net\\wroks' = 3", 3, "unknown key 'net\\\\wroks'; did you mean 'networks'?"),
    ("# candidates = 2\n\ncandidates = 3", 3, "unknown key 'candidates': it belongs in the table of a backend"),
    (TABLES + "epoch = 3", 5, "[spaces.timm] unknown key 'epoch'; did you mean 'epochs'? (known: architectures, "),
    (TABLES + "seed = 3", 5, "[spaces.timm] unknown key 'seed': it belongs above the first [table]"),
    ("seed = 0\nspaces.timm.epoch = 3", 2, "[spaces.timm] unknown key 'epoch'; did you mean 'epochs'?"),
    ("[spaces]\ntimm = { candidates = 2, epoch = 3 }", 2, "[spaces.timm] unknown key 'epoch'"),
    ("seed = 0\n[search.timm]\nepochs = 3", 2, "unknown key 'search'"),
    ("seed = 0\n[[candidates]]\na = 3", 2, "unknown key 'candidates'"),
    (f"seed = 0\n{'k' * 5000} = 1", 2, f"unknown key '{'k' * 60}…' (known"),
    ('\n"a\\nb" = 1', 2, "unknown key 'a\\nb' (known"),
    # types
    ("networks = true", 1, "networks must be a whole number, not true"),
    ("seed = 0\nnetworks = 2.5", 2, "networks must be a whole number, not the number 2.5"),
    ("networks = '3'", 1, "networks must be a whole number, not the text '3'"),
    ("networks = 1979-05-27", 1, "networks must be a whole number, not a date or time"),
    ("networks = [1]", 1, "networks must be a whole number, not a list"),
    ("networks = {}", 1, "networks must be a whole number, not a table"),
    (f"networks = 0x{'f' * 5000}", 1, "networks must be a whole number, not a number of more than 64 bits"),
    ("seed = 9223372036854775808", 1, "seed must be a whole number, not a number of more than 64 bits"),
    ("pretrained = 1", 1, "pretrained must be true or false, not the number 1"),
    ("halving = 'no'", 1, "halving must be true or false, not the text 'no'"),
    ("strategy = 3", 1, "strategy must be a text in quotes, not the number 3"),
    ("max_images = 'every'", 1, "max_images must be a whole number or \"all\", not the text 'every'"),
    ("networks = 'all'", 1, "networks must be a whole number, not the text 'all'"),
    ('data = "birds"', 1, 'data must be listed in brackets, like ["...", "..."], not the text \'birds\''),
    ("spaces = 3", 1, "spaces must be a table, not the number 3"),
    ("\nspaces = []", 2, "spaces must be a table, not a list"),
    ("[spaces]\ntimm = 20", 2, "[spaces.timm] must be the table of a backend, with architectures, candidates, "),
    ("\n[[spaces.timm]]", 2, "[spaces.timm] must be the table of a backend"),
    (TABLES + "epochs = '3'", 5, "[spaces.timm] epochs must be a whole number, not the text '3'"),
    (f"weights = ['{'x' * 99}']", 1, "weights must be a text in quotes, not a list"),
    (f"networks = '{'x' * 99}'", 1, f"not the text '{'x' * 60}…'"),
    # items of lists, which have lines of their own
    ("data = [1]", 1, "data must list texts in quotes, none of them empty, not the number 1"),
    ("data = [\n  'a', # networks = 1\n\n  'b',\n  3,\n]", 5, "data must list texts in quotes"),
    ("data = [\n  'a', [\n 'b'] ]", 2, "data must list texts in quotes, none of them empty, not a list"),
    ("data = ['a',\n '']", 2, "data must list texts in quotes, none of them empty, not an empty text"),
    (TABLES + "architectures = [\n'a',\n'b', false]", 7, "[spaces.timm] architectures must list texts"),
    ("objectives = [\n'params',\n'watts'\n]", 3, "unknown objective 'watts' (known: latency, macs, params)"),
    ("objectives = [\n'params',\n'macs',\n'params'\n]", 4, "objectives name 'params' twice"),
    ("seed = 1\nobjectives = [\n]", 2, "objectives must name at least one of params, macs, latency"),
    # ranges and names
    ("networks = 0", 1, "networks must be at least 1, not 0"),
    ("seed = 1 # networks = 3\nnetworks = 0", 2, "networks must be at least 1, not 0"),
    ("# networks = 0\n#networks\nnetworks = -1", 3, "networks must be at least 1, not -1"),
    ("seed = 1\n\nimage_size = 8\n", 3, "image size must be 16 to 512 pixels, not 8"),
    ("image_size = 513", 1, "image size must be 16 to 512 pixels, not 513"),
    ("max_images = 1", 1, "max images must be at least 2, not 1"),
    ("epochs = 0", 1, "epochs must be at least 1"),
    ("round = 0", 1, "round must be at least 1"),
    ("transfers = -1", 1, "transfers must be at least 0, not -1"),
    ("transfer_epochs = 0", 1, "transfer epochs must be at least 1"),
    ("weights = 'fp61'", 1, "unknown precision of weights 'fp61'; did you mean 'fp16'? (known: fp16, fp32)"),
    ("strategy = 'pareot'", 1, "unknown strategy 'pareot'; did you mean 'pareto'? (known: all, pareto, random)"),
    (TABLES + "epochs = 0", 5, "[spaces.timm] epochs must be at least 1, not 0"),
    (TABLES + "image_size = 1024", 5, "[spaces.timm] image size must be 16 to 512 pixels"),
    ("epochs = 3\nspaces.timm.candidates = 0\nspaces.timm.epochs = 3", 2, "[spaces.timm] candidates must be at least"),
    ("image_size = 64\n[spaces.ofa]\nimage_size = 64\n[spaces.timm]\nimage_size = 0", 5, "[spaces.timm] image size"),
    ('weights = """\nnetworks = 1\nfp32"""\n', 1, "unknown precision of weights"),
    ('data = [\'\'\'\nnetworks = 1\n\'\'\', """\nnetworks = 2 \\""""""]\nnetworks = 0', 5, "networks must"),
    ('data = [\'#\', "\\""] # \'\nnetworks = 0 # """', 2, "networks must be at least 1"),
    (f"strategy = '{'x' * 5000}'", 1, f"unknown strategy '{'x' * 100}"),
    # search spaces of other backends
    (
        TABLES + "\n[spaces.tim]\n",
        6,
        "unknown backend of a search space 'tim'; did you mean 'timm'? (known: ofa, timm)",
    ),
    ("spaces.ofa.epochs = 3\nbackends = ['timm:x*']", 1, "unknown backend of a search space 'ofa' (known: timm)"),
    ("backends = ['timm:x*']\n[spaces.'timm:x*']", 2, "unknown backend of a search space 'timm:x*'; did you mean"),
    # twice
    ("networks = 1\nseed = 1\nnetworks = [\n1\n]\n", 3, "networks is given twice, first in line 1"),
    ("[spaces]\ntimm = {}\n[spaces.timm]", 3, "spaces.timm is given twice, first in line 2"),
    ("[spaces.timm.a]\n[spaces.timm]\n[spaces.ofa]\n\n[spaces.timm]", 5, "spaces.timm is given twice, first in line 2"),
    ("[spaces]\ntimm = {epochs = 1, 'epochs' = 2}", 2, "spaces.timm.epochs is given twice, first in line 2"),
    ("'a b' = 1\n'a b' = 1", 2, "'a b' is given twice, first in line 1"),
    ("[[a]]\nb = 1\n[[a]]\nb = 1\nb = 1", 5, "a.b is given twice, first in line 4"),
    # no TOML
    ("seed = 0\nnetworks = ", 2, "this is no TOML: Invalid value (at end of document)"),
    ("seed = 0\nnetworks = \n\n", 2, "this is no TOML: Invalid value (at column 12)"),
    ("data = [\n'a'\n", 2, "this is no TOML: Unclosed array (at end of document)"),
    ("networks = 1\nnetworks.a = 1\n", 2, "this is no TOML: Cannot overwrite a value"),
    ("seed = 1\x00\n", 1, "this is no TOML: Expected newline or end of document after a statement (at column 9)"),
    ("seed = 1\rseed = 2", 1, "this is no TOML: "),
    # bytes
    (b"\xef\xbb\xbfseed = 1\nnetworks = 0", 2, "networks must be at least 1"),
    (b"\xef\xbb\xbf\xef\xbb\xbfseed = 1", 1, "this is no TOML: "),
    (b"seed = 1\r\n\r\ndata = [\r\n'a',\r\n1]\r\nnetworks = 0\r\n", 5, "data must list texts"),
    (b"seed = 1\r\n\r\ndata = [\r\n'a',\r\n]\r\nnetworks = 0\r\n", 6, "networks must be at least 1"),
    (b"weights = '''\r\nfp61'''\r\n", 1, "unknown precision of weights 'fp61'".replace("32", "32")),
    (b"seed = 1\r\nnetworks =\r\n", 2, "this is no TOML: Invalid value"),
    (b"seed = 1\n# caf\xe9\n", 2, "this is no TOML: it is not UTF-8; save the file as UTF-8"),
    (b"\xff\xfes\x00e\x00e\x00d\x00", 1, "this is no TOML: it is not UTF-8"),
]


@pytest.mark.parametrize(("content", "line", "words"), MISTAKES, ids=[f"{n}" for n in range(len(MISTAKES))])
def test_a_mistake_is_named_with_its_line(content, line, words, recipe):
    found, message = complaint(recipe(content))
    assert words in message
    assert found == line


def test_what_is_not_there_is_an_unknown_name(recipe):
    for text in ("netwroks = 3", "strategy = 'x'", "objectives = ['x']", "[spaces.x]", "candidates = 1"):
        with pytest.raises(UnknownNameError):
            read_build_file(recipe(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data = " + "[" * 20_000, "nested too deep"),
        ("a = " + "{a = " * 20_000, "nested too deep"),
        ("seed = " + "1" * 5000, "a number has too many digits"),
        (".".join("a" * 1000) + " = 1", "unknown key 'a'"),
    ],
    ids=["brackets", "braces", "digits", "dots"],
)
def test_rather_no_line_than_a_wrong_one(text, words, recipe):
    line, message = complaint(recipe(text))
    assert line is None
    assert words in message


def test_what_cannot_be_read(recipe, tmp_path):
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "none.toml", "No such file"), ("a\0b", "null")):
        with pytest.raises(UsageError, match=rf"cannot read recipe .*: .*{why}"):
            read_build_file(path)
    assert read_build_file(recipe("seed = 1\n" + "#" * (RECIPE.max_bytes - 9))).seed == 1
    with pytest.raises(UsageError, match=r"recipe '.*' is larger than 1 MB"):
        read_build_file(recipe("seed = 1\n" + "#" * (RECIPE.max_bytes - 8)))
    if Path("/dev/zero").exists():  # not a byte of it is read
        with pytest.raises(UsageError, match="it is a device, no regular file"):
            read_build_file("/dev/zero")


# lines

KEYS = st.sampled_from(["a", "b", "c-1", "7", '"a b"', "'x.y'", '"\\u0061\\""'])
NOISE = st.sampled_from(["# a = 1", "", "  ", "# [a]", "# \"\"\" '''"])
SCALARS = st.sampled_from(
    [
        "1",
        "-3.25e+3",
        "true",
        "1979-05-27 07:32:00.5Z",
        "07:32:00",
        r'"a = 1 # [x] \" \\"',
        "'a = 1, ] } \"'",
        '"""\na = 1\n[a]\n\\""" x"""""',
        '"""\\\n  a\n"""',
        "'''\nb = 1\n# ''\n'''",
        "'''''''",
        '""',
        "''",
        '""""""',
    ]
)


class Writer:
    """Writes a document piece by piece, and knows the line of each path."""

    def __init__(self, draw):
        self.draw, self.text, self.lines, self.names = draw, "", {}, 0

    def put(self, text):
        self.text += text

    def here(self, path):
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def blank(self):
        self.put(self.draw(st.sampled_from(["", " ", "\t "])))

    def gap(self):
        self.blank()
        while self.draw(st.booleans()):
            self.put(self.draw(NOISE) + "\n")

    def key(self, path):
        for turn in range(self.draw(st.integers(1, 3))):
            self.put(self.draw(st.sampled_from([".", " . "])) if turn else "")
            self.names += 1  # so that none is given twice
            name = self.draw(KEYS)
            quote = name[0] if name[0] in "\"'" else ""
            name = f"{quote}{self.names}_{name[len(quote) :]}"
            path = (*path, *tomllib.loads(f"{name} = 1"))
            self.here(path)
            self.put(name)
        return path

    def value(self, path, depth):
        kind = self.draw(st.sampled_from(["scalar", "list", "table"] if depth else ["scalar"]))
        if kind == "scalar":
            self.put(self.draw(SCALARS))
        elif kind == "list":
            self.put("[")
            for index in range(self.draw(st.integers(0, 3))):
                self.gap()
                self.here((*path, index))
                self.value((*path, index), depth - 1)
                self.gap()
                self.put(",")
            self.gap()
            self.put("]")
        else:
            self.put("{")
            for index in range(self.draw(st.integers(0, 3))):
                self.put(", " if index else " ")
                whole = self.key(path)
                self.put(" = ")
                self.value(whole, depth - 1)
            self.put("}")

    def statement(self, table):
        self.put(self.draw(NOISE) + "\n")
        self.blank()
        if self.draw(st.integers(0, 3)) == 0:
            self.put("[ ")
            table = self.key(())
            self.put("] # new\n")
        else:
            whole = self.key(table)
            self.put(self.draw(st.sampled_from(["=", " = "])))
            self.value(whole, 3)
            self.put(self.draw(st.sampled_from(["\n", " # a = 1\n"])))
        return table


@st.composite
def documents(draw):
    """A right document and the line of each path in it."""
    writer, table = Writer(draw), ()
    for _ in range(draw(st.integers(0, 6))):
        table = writer.statement(table)
    return writer.text, writer.lines


def paths_of(value, path=()):
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from paths_of(part, (*path, name))


@given(documents(), st.booleans())
def test_every_key_and_item_is_found_on_its_line(made, windows):
    document, lines = made
    document = document.replace("\n", "\r\n") if windows else document
    assert set(paths_of(tomllib.loads(document))) == set(lines)
    found = KeyFinder(document)
    assert found.lines == lines
    assert found.twice is None


@given(st.text(st.sampled_from("a1.=[]{},#\n\"'\\ \r"), max_size=60))
@example("a=1\n[[b]]\nc=[{d=1},\n{d=1}]")
def test_any_text_has_lines_for_what_is_in_it_and_no_others(text):
    found = KeyFinder(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.lines.values())
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    if "[[" not in text:
        assert set(found.lines) == set(paths_of(document))


EXAMPLE = re.search(r"## An example\n+```toml\n(.*?)```", DOCS, re.DOTALL)[1]
PIECES = [
    b"",
    b"\n",
    b"[",
    b"]",
    b'"',
    b"'''",
    b"=",
    b"0",
    b"-1",
    b"true",
    b"\xff",
    b"\x00",
    b"seed = 1\n",
    b"{}",
    b"#",
]


@given(st.data())
def test_a_damaged_recipe_is_read_or_complained_about(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    damaged = bytearray(EXAMPLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        damaged[start : start + data.draw(st.integers(0, 12))] = data.draw(st.sampled_from(PIECES))
    path.write_bytes(damaged)
    try:
        read_build_file(path)
    except UsageError as error:
        assert re.match(r"recipe '.*damaged.toml', line \d+: ", str(error)), str(error)
        assert len(str(error).splitlines()) == 1


# writing

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
SMALL = st.integers(1, 10**6)
SEARCH_SPACES = st.builds(
    SearchSpace,
    architectures=st.lists(TEXTS).map(tuple),
    candidates=st.none() | SMALL,
    image_size=st.none() | st.integers(16, 512),
    epochs=st.none() | SMALL,
)


@st.composite
def all_settings(draw):
    backends = tuple(draw(st.lists(st.sampled_from(["ofa", "timm"]) | TEXTS, max_size=5)))
    names = sorted({backend.partition(":")[0] for backend in backends})
    return BuildSettings(
        data=draw(st.lists(TEXTS | TEXTS.map("/{}".format) | TEXTS.map("torchvision:{}".format)).map(tuple)),
        backends=backends,
        networks=draw(SMALL),
        image_size=draw(st.integers(16, 512)),
        max_images=draw(st.none() | st.integers(2, 10**6)),
        pretrained=draw(st.booleans()),
        epochs=draw(st.none() | SMALL),
        weights=draw(st.sampled_from(WEIGHTS)),
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        strategy=draw(st.sampled_from(STRATEGIES)),
        objectives=draw(st.lists(st.sampled_from(OBJECTIVES), min_size=1, unique=True).map(tuple)),
        round=draw(st.none() | SMALL),
        transfers=draw(st.none() | st.integers(0, 10**6)),
        transfer_epochs=draw(SMALL),
        halving=draw(st.booleans()),
        spaces=draw(st.dictionaries(st.sampled_from(names), SEARCH_SPACES) if names else st.just({})),
    )


@given(all_settings())
@example(BuildSettings())
@example(BuildSettings(data=("a\x7f\x00\n\r\t\"\\'", "\u2028\U0001f600", "./a//b/", "../c", "x" * 200)))
@example(BuildSettings(backends=("a.b:x", '"]\n'), spaces={"a.b": SearchSpace(epochs=1), '"]\n': SearchSpace()}))
def test_what_is_written_reads_back_the_same(tmp_path_factory, settings):
    with contextlib.chdir(tmp_path_factory.getbasetemp()):
        Path("written.toml").write_text(write_build_file(settings), encoding="utf-8", newline="")
        assert read_build_file("written.toml") == settings


def test_what_is_written_can_be_read_by_people():
    folders = tuple(f"/data/images/number-{number}" for number in range(5))
    spaces = {"timm": SearchSpace(("resnet10t", "lcnet_*"), epochs=3), "gone": SearchSpace(epochs=1)}
    settings = BuildSettings(data=folders, max_images=None, transfers=0, spaces=spaces)
    assert write_build_file(settings) == (
        "data = [\n" + "".join(f'    "{folder}",\n' for folder in folders) + "]\n"
        'backends = ["ofa", "timm"]\nnetworks = 400\nimage_size = 64\nmax_images = "all"\npretrained = true\n'
        'weights = "fp32"\nseed = 0\nstrategy = "pareto"\nobjectives = ["params"]\ntransfers = 0\n'
        'transfer_epochs = 3\nhalving = true\n\n[spaces.timm]\narchitectures = ["resnet10t", "lcnet_*"]\nepochs = 3\n'
    )


def test_what_toml_cannot_hold_is_not_written():
    with pytest.raises(UsageError, match=r"'bad\\udcff' cannot be written in a recipe: it is not Unicode"):
        write_build_file(BuildSettings(data=("bad\udcff",)))
    with pytest.raises(UsageError, match="whole numbers of 64 bits"):
        write_build_file(BuildSettings(seed=2**63))


# the settings themselves


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"round": 0}, "round must be at least 1, not 0"),
        ({"transfers": -1}, "transfers must be at least 0, not -1"),
        ({"transfer_epochs": 0}, "transfer epochs must be at least 1"),
        ({"strategy": "best"}, "unknown strategy 'best'"),
        ({"objectives": ()}, "at least one of params, macs, latency"),
        ({"objectives": ("macs", "macs")}, "'macs' twice"),
        ({"objectives": ("mac",)}, "did you mean 'macs'"),
    ],
)
def test_settings_that_make_no_sense(wrong, words):
    with pytest.raises(UsageError, match=words):
        BuildSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"candidates": 0}, {"epochs": 0}, {"image_size": 15}, {"image_size": 513}])
def test_search_spaces_that_make_no_sense(wrong):
    with pytest.raises(UsageError, match="must be"):
        SearchSpace(**wrong)


def test_pairs_of_a_round():
    assert [BuildSettings().pairs_a_round(datasets) for datasets in (1, 30, 62)] == [8, 8, 15]
    assert BuildSettings(round=5).pairs_a_round(30) == 5


def test_settings_can_be_keys():
    assert len({BuildSettings(), BuildSettings(spaces={}), BuildSettings(seed=1)}) == 2


# the documentation


def test_the_example_of_the_docs_is_right(recipe, tmp_path):
    settings = read_build_file(recipe(EXAMPLE))
    assert settings.data == (str(tmp_path / "birds"), "/srv/images/tiles", "torchvision:FashionMNIST")
    assert settings.spaces == {"timm": SearchSpace(("mobilenetv3_small_*", "resnet10t"), candidates=20, epochs=15)}
    assert (settings.transfers, settings.objectives) == (200, ("params", "macs"))


def test_searches_have_something_to_learn_from_unless_it_is_not_wanted():
    assert [BuildSettings().transfers_of(networks, 0, 10) for networks in (3, 48, 400)] == [27, 60, 400]
    assert BuildSettings().transfers_of(18, 3, 3) == 45
    assert BuildSettings().transfers_of(40, 3, 1) == 0
    assert BuildSettings(transfers=0).transfers_of(400, 3, 10) == 0
    assert BuildSettings(transfers=7).transfers_of(400, 3, 10) == 7
    assert BuildSettings(transfers=60).transfers_of(10, 3, 1) == 3


def test_the_docs_list_every_key_with_its_default():
    spaces = {"timm": SearchSpace()}
    written = dict(re.findall(r"^(\w+) = (.*)$", write_build_file(BuildSettings(spaces=spaces)), re.MULTILINE))
    expected = [key.name for cls in (BuildSettings, SearchSpace) for key in fields(cls) if key.name != "spaces"]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| .* \|$", DOCS, re.MULTILINE)
    assert [key for key, _ in rows] == expected
    general = len(fields(BuildSettings)) - 1
    for place, (key, default) in enumerate(rows):
        own = key if place < general or key == "architectures" else "none"
        assert default == (f"`{written[own]}`" if own in written else "none"), key


SAID = re.findall(r"```toml\n([^`]*)```\n+```text\n(.*)\n```", DOCS)


@pytest.mark.parametrize(("text", "message"), SAID, ids=[message[:60] for _, message in SAID])
def test_the_errors_in_the_docs_are_what_is_said(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("team.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_build_file("team.toml")
    assert str(caught.value) == message


def test_the_docs_show_errors():
    assert len(SAID) == DOCS.count("```text") > 5
