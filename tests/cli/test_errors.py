"""Whatever is wrong: the right exit code, one clear line on stderr, nothing on stdout, no traceback."""

from __future__ import annotations

import pytest


def fails(done, code, *words):
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    for word in words:
        assert word in done.err


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, small_zoo, write_digits):
    tmp_path = tmp_path_factory.mktemp("inputs")
    (tmp_path / "empty").mkdir()
    write_digits(tmp_path / "one", (3,))
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(small_zoo.query.glob("*/*.png")):
        (tmp_path / "flat" / f"{number}.png").write_bytes(path.read_bytes())
    (tmp_path / "text.h5").write_text("no zoo at all\n" * 100)
    with small_zoo.path.open("rb") as zoo:
        (tmp_path / "cut.h5").write_bytes(zoo.read(5000))
    (tmp_path / "cut.json").write_text('{"candidates": [{"id":')
    (tmp_path / "other.json").write_text('{"networks": []}')
    (tmp_path / "none.json").write_text('{"candidates": []}')
    (tmp_path / "recipe.toml").write_text('data = ["a"]\nnetwroks = 3\n')
    (tmp_path / "type.toml").write_text('data = "a"\n')
    (tmp_path / "bad.toml").write_text("data = [\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("years of work")
    return {"query": small_zoo.query, "zoo": small_zoo.path, "tmp": tmp_path}


@pytest.fixture
def files(inputs, tmp_path):
    """What the names in braces below stand for."""
    return inputs | {"new": tmp_path / "new"}


DATA = [
    ("search {tmp}/nowhere", "no dataset at", "nowhere"),
    ("search {tmp}/empty", "holds no images"),
    ("finetune {tmp}/empty", "holds no images"),
    ("finetune {tmp}/one --epochs 1", "one class only", "'3'"),
    ("finetune {tmp}/flat --epochs 1", "has no labels"),
]


@pytest.mark.parametrize(("line", "words"), [(line, words) for line, *words in DATA], ids=lambda v: str(v)[:40])
def test_bad_datasets_exit_with_3(line, words, nns, files, monkeypatch):
    monkeypatch.setenv("NNS_ZOO", str(files["zoo"]))
    monkeypatch.chdir(files["new"].parent)
    fails(nns(*line.format(**files).split(), "--json"), 3, *words)


def test_a_dataset_of_one_class_can_be_searched_with(nns, files):
    assert nns("search", files["tmp"] / "one", "--zoo", files["zoo"], "--json").json["dataset"]["classes"] == 1


USAGE = [
    ("search {query} --zoo {zoo} --backend tim", "unknown backend 'tim'", "did you mean 'timm'?"),
    ("search {query} --zoo {zoo} --max-params 5X", "'5X' is not a count", "e.g. 5M"),
    ("search {query} --zoo {zoo} --max-params 0", "more than 0"),
    ("search {query} --zoo {zoo} --max-latency 10", "'10' is not a latency", "ms"),
    ("search {query} --zoo {zoo} --max-size=-5MB", "'-5MB' is not a size"),
    ("search {query} --zoo {zoo} --top 0", "--top"),
    ("search {query} --zoo {zoo} --space mixt", "unknown space 'mixt'", "did you mean 'mixed'?"),
    ("search {query} --zoo {zoo} --device tpu", "unknown device 'tpu'"),
    ("search {query} --zoo {tmp}/none.h5", "no zoo at", "nns zoo build"),
    ("finetune {query} --zoo {zoo} --network zzz", "unknown network 'zzz'"),
    ("finetune {query} --zoo {zoo} --network 0 --from s.json", "either --network or --from"),
    ("finetune {query} --zoo {zoo} --budget soon", "'soon' is not a duration", "10m"),
    ("finetune {query} --zoo {zoo} --from {tmp}/cut.json", "cut.json", "not the output of `nns search --json`"),
    ("finetune {query} --zoo {zoo} --from {tmp}/other.json", "not the output of `nns search --json`"),
    ("finetune {query} --zoo {zoo} --from {tmp}/none.json", "holds no candidates"),
    ("finetune {query} --zoo {zoo} --from {tmp}/missing.json", "cannot read search result"),
    ("finetune {query} --zoo {zoo} --backend example -o {tmp}/taken", "taken", "name another folder"),
    ("zoo show {zoo} zzz", "unknown network 'zzz'"),
    ("zoo show {tmp}/none.h5 0", "no zoo at"),
    ("zoo ls {zoo} --sort weight", "unknown order 'weight'"),
    ("zoo build {new} --recipe {tmp}/recipe.toml", "line 2", "'netwroks'", "did you mean 'networks'?"),
    ("zoo build {new} --recipe {tmp}/type.toml", "data must be list"),
    ("zoo build {new} --recipe {tmp}/bad.toml", "is no TOML"),
    ("zoo build {new} --recipe {tmp}/missing.toml", "cannot read recipe"),
    ("zoo build {new} --recipe {tmp}/bad.toml --data {query}", "either --recipe or --data"),
    ("zoo build {new} --data {query} --backend tim", "unknown backend 'tim'"),
    ("zoo build {new} --data {query} --backend example:big*", "unknown example architecture 'big*'"),
    ("zoo build {new} --data {query} --image-size 4", "16 to 512"),
    ("zoo build {new} --data {query} --strategy best", "unknown strategy 'best'", "pareto"),
    ("zoo build {new} --data {query} --executor rya", "unknown executor 'rya'", "did you mean 'ray'?"),
    ("zoo build {new} --data {query} --device tpu", "unknown device 'tpu'"),
    ("zoo build {new} --data {query} --backend example --log {tmp}/no/log", "cannot write the log", "No such file"),
    ("zoo build {new} --data {query} --backend example --executor rya --dry-run", "unknown executor 'rya'"),
    ("zoo build {new} --data {query} --backend example --device tpu --dry-run", "unknown device 'tpu'"),
    ("zoo build {new} --recipe {tmp}/recipe.toml --dry-run", "line 2", "did you mean 'networks'?"),
    ("zoo export {zoo} zzz -o {new}", "unknown network 'zzz'"),
    ("zoo merge {new} {tmp}/none.h5", "no zoo at"),
    ("space fit {zoo} --method mixt", "unknown method 'mixt'", "did you mean 'mixed'?"),
    ("predict {tmp}/empty {query}", "holds no fine-tuned network"),
    ("export {tmp}/empty --format safetensors", "holds no fine-tuned network"),
    ("architectures tim", "unknown backend 'tim'"),
]


@pytest.mark.parametrize(("line", "words"), [(line, words) for line, *words in USAGE], ids=lambda v: str(v)[:60])
def test_usage_errors_exit_with_2(line, words, nns, files):
    fails(nns(*line.format(**files).split(), "--json"), 2, *words)
    assert not files["new"].exists()


@pytest.mark.parametrize("file", ["text.h5", "cut.h5"])
@pytest.mark.parametrize(
    "line",
    [
        "search {query} --zoo {zoo}",
        "zoo ls {zoo}",
        "zoo info {zoo}",
        "zoo show {zoo} 0",
        "zoo merge {new} {zoo}",
        "space fit {zoo}",
        "space show {zoo}",
        "zoo build {zoo} --data {query} --backend example --networks 1",
        "finetune {query} --zoo {zoo}",
    ],
)
def test_a_file_that_is_no_zoo_exits_with_4(line, file, nns, files):
    files |= {"zoo": files["tmp"] / file}
    before = files["zoo"].read_bytes()
    fails(nns(*line.format(**files).split(), "--json"), 4, file)
    assert files["zoo"].read_bytes() == before


def test_verify_reports_a_file_that_is_no_zoo(nns, files):
    done = nns("zoo", "verify", files["tmp"] / "text.h5", "--json")
    assert (done.code, done.json["ok"], done.json["networks"]) == (4, False, 0)
    assert "text.h5" in done.json["problems"][0]["what"]


def test_an_unfitted_zoo_is_searched_by_what_is_known_at_large_and_says_so(nns, small_zoo, tmp_path):
    bare = tmp_path / "bare.h5"
    assert nns("zoo", "merge", bare, small_zoo.path).code == 0
    done = nns("search", small_zoo.query, "--zoo", bare)
    assert done.code == 0
    assert f"nns space fit {bare}" in " ".join(f"{done.out} {done.err}".split())


def test_a_file_in_the_way_is_one_line_too(nns, small_zoo, tmp_path):
    (tmp_path / "file").write_text("")
    zoo = tmp_path / "file" / "zoo.h5"
    done = nns("zoo", "build", zoo, "--data", small_zoo.query, "--backend", "example", "--networks", 1, "--json")
    assert done.code in {1, 2, 4}
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
