"""``nns search --report``: one page that needs nothing else, whatever names a zoo has."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nns import Zoo
from nns.cli.search_report import limits_sentence, report_page, size_figure, terms_figure
from nns.searching import search as run_search
from nns.types import Limits

HOSTILE = '</script><script>alert(1)</script><a href="javascript:alert(2)"><img src=x onerror=alert(3)>\u202e'


class Page(HTMLParser):
    """Collects tags, their addresses, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words, self.open = [], [], [], []
        self.feed(text)
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def result(small_zoo):
    with Zoo(small_zoo.path) as zoo:
        return run_search(str(small_zoo.query), zoo, Limits(max_params=5_000_000), top=6)


def test_the_page_tells_what_the_search_found(nns, small_zoo, tmp_path):
    path = tmp_path / "search.html"
    done = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--report", path)
    assert (done.code, done.err) == (0, f"wrote {path}\n")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.addresses == []  # nothing is fetched
    found = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json").json
    assert all(candidate["id"] in page.text for candidate in found["candidates"])
    assert all(network in page.text for network in found["together"])
    assert all(neighbour["dataset"] in page.text for neighbour in found["neighbours"])
    assert f"{found['dataset']['images']} images, 2 classes; 12 of 12 networks" in page.text
    assert page.tags.count("h2") == 4
    assert len(list(tmp_path.iterdir())) == 1


def test_the_document_may_be_asked_for_as_well(nns, small_zoo, tmp_path):
    done = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--json", "--report", tmp_path / "a.html")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["candidates"][0]["id"] in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_names_of_strangers_are_only_names(result):
    def rename(candidate):
        spec = replace(candidate.entry.spec, name=HOSTILE)
        return replace(
            candidate, entry=replace(candidate.entry, spec=spec, source_dataset=HOSTILE, license=HOSTILE),
            terms={HOSTILE: 1.0},
        )  # fmt: skip

    hood = result.neighbourhood
    nearest = tuple(replace(each, name=HOSTILE, winner=HOSTILE) for each in hood.nearest)
    hostile = replace(
        result,
        dataset=replace(result.dataset, path=HOSTILE),
        zoo_path=HOSTILE,
        space=HOSTILE,
        candidates=tuple(map(rename, result.candidates)),
        together=tuple(map(rename, result.together)),
        static_choice=rename(result.static_choice),
        neighbourhood=replace(hood, nearest=nearest),
    )
    plain, page = Page(report_page(result)), Page(report_page(hostile))
    assert sorted(page.tags) == sorted(plain.tags)
    assert page.addresses == []
    assert "alert(1)" in page.text
    assert "\u202e" not in report_page(hostile)
    # the figures' labels understand some HTML
    labels = json.dumps([size_figure(hostile).to_dict(), terms_figure(hostile).to_dict()], default=str)
    assert "alert(1)" in labels
    assert not re.search(r"<(script|a|img)\b", labels)


def test_what_the_figures_show(result):
    traces = {trace.name: trace for trace in size_figure(result).data}
    assert len(traces["to fine-tune together"].x) == 3
    assert list(traces["static choice"].x) == [result.static_choice.params]
    others, together = traces["other candidates"], traces["to fine-tune together"]
    first = result.candidates[0]
    assert together.y[list(together.x).index(first.params)] == pytest.approx(100 * first.predicted_accuracy)
    low, high = first.interval
    at = list(together.x).index(first.params)
    assert together.error_y.array[at] == pytest.approx(100 * (high - first.predicted_accuracy))
    assert together.error_y.arrayminus[at] == pytest.approx(100 * (first.predicted_accuracy - low))
    assert len(others.x) == len({c.entry.id for c in result.candidates} - {c.entry.id for c in result.together})
    bars = terms_figure(result).data
    assert sum(bar.x[0] for bar in bars) == pytest.approx(sum(first.terms.values()))
    assert len(bars[0].y) == len(result.candidates)


def test_without_intervals_and_labels(result):
    bare = [replace(candidate, interval=None, terms={}) for candidate in result.candidates[:1]]
    bare_result = replace(result, candidates=tuple(bare), together=tuple(bare), static_choice=bare[0], limits=Limits())
    unlabelled, far = replace(result.dataset, classes=None), replace(result.neighbourhood, far=True)
    page = Page(report_page(replace(bare_result, dataset=unlabelled, neighbourhood=far)))
    assert "no labels" in page.text
    assert "none given" in page.text
    assert "far from every dataset" in page.text
    assert "keep the best" not in page.text


def test_limits_in_words(result):
    limits = Limits(5_000_000, 300_000_000, 20_000_000, 0.01, "timm", "mit")
    said = limits_sentence(replace(result, limits=limits))
    assert said == "5 M parameters, 300 M MACs, 20 MB, 10 ms, backend timm, licence mit"


@pytest.mark.parametrize(
    ("name", "message"), [("", "is a folder"), ("nowhere/a.html", "there is no folder"), ("full", "cannot write")]
)
def test_a_page_that_cannot_be_written(name, message, nns, small_zoo, tmp_path, monkeypatch):
    if name == "full":
        monkeypatch.setattr(
            "pathlib.Path.write_bytes", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left"))
        )
    done = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--report", tmp_path / name)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_without_plotly_it_is_said_before_the_search(nns, small_zoo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setattr("nns.searching.search", lambda *_, **__: pytest.fail("searched"))
    done = nns("search", small_zoo.query, "--zoo", small_zoo.path, "--report", tmp_path / "a.html")
    assert (done.code, done.out) == (2, "")
    assert "pip install 'nns[report]'" in done.err
