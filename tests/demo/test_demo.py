"""The demo: real images that need no download, and the whole way on them."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from nns import Dataset, UsageError, predict
from nns.demo import data, run_demo
from nns.demo.running import DemoSettings


class Cell:
    """In place of a photograph of a solar cell."""

    def __init__(self, number, kind):
        self.number, self.kind, self.grade = number, kind, number % 4

    def __call__(self):
        return Image.new("L", (8, 8), self.number + (100 if self.kind == "mono" else 0))


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.setattr(data, "_solar_cells", lambda: [Cell(n, kind) for kind in ("mono", "poly") for n in range(16)])


def test_the_images_are_laid_out_once_and_none_of_the_query_is_in_the_zoo(cells, tmp_path):
    laid = data.lay_out(tmp_path)
    zoo = [Dataset.open(folder) for folder in laid.zoo]
    query = Dataset.open(laid.query)
    assert len({dataset.digest for dataset in zoo}) == len(zoo) >= 4
    known = {digest for dataset in zoo for digest in dataset.content_digests}
    assert not known & set(query.content_digests)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert data.lay_out(tmp_path) == laid
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install elpv-dataset"):
        data.lay_out(tmp_path)


@pytest.mark.slow
def test_the_whole_way(cells, tmp_path, capsys):
    from nns.cli.demo import demo_document, render

    settings = DemoSettings(networks=6, image_size=32, max_images=20, epochs=1, finetune_epochs=1, workers=0)
    report = run_demo(tmp_path, settings, lambda *step: None)
    assert report.build.failed == ()
    assert len(report.runs) == 3
    assert report.runs[0].candidate.rank == 1
    assert 0 < report.chance <= 1
    document = demo_document(report)
    assert set(document) == {"zoo", "search", "runs", "chance", "output", "seconds"}
    json.dumps(document)
    render(report)
    assert "nns predict" in capsys.readouterr().out
    image = next(report.query.rglob("*.png"))
    (prediction,), _ = predict(report.output, [image])
    assert prediction.label in Dataset.open(report.query).classes
    again = run_demo(tmp_path, settings, lambda *step: None)
    assert (again.build.added, again.build.digest) == (0, report.build.digest)
