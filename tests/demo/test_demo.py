"""The demo: real images that need no download, and the whole way on them."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from nns import Dataset, UsageError, predict
from nns.demo import DemoSettings, data, run_demo
from nns.zoo import Zoo


class Cell:
    """In place of a photograph of a solar cell."""

    def __init__(self, number, grade):
        self.number, self.grade = number, grade

    def __call__(self):
        return Image.new("L", (32, 32), (self.number + 100 * self.grade) % 256)


@pytest.fixture
def cells(monkeypatch):
    cells = {"intact": [Cell(n, 0) for n in range(600)], "defective": [Cell(n, 1) for n in range(400)]}
    monkeypatch.setattr(data, "_solar_cells", lambda: cells)


def test_the_images_are_laid_out_once(cells, tmp_path):
    laid = data.lay_out(tmp_path)
    opened = [Dataset.open(folder) for folder in laid]
    assert [(each.name, each.classes) for each in opened] == [
        ("solar-cells", ("defective", "intact")),
        ("digits-5-9", ("5", "6", "7", "8", "9")),
    ]
    assert [len(each) for each in opened] == [400, 300]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert data.lay_out(tmp_path) == laid
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install elpv-dataset"):
        data.lay_out(tmp_path)


@pytest.mark.slow
def test_the_whole_way(cells, small_zoo, tmp_path, capsys):
    from nns.cli.demo import demo_document, render

    with Zoo(small_zoo.path) as zoo:
        report = run_demo(tmp_path, zoo, DemoSettings(max_params=5_000_000, epochs=1), lambda *step: None)
    assert [task.data.name for task in report.tasks] == ["solar-cells", "digits-5-9"]
    for task in report.tasks:
        assert [run.choice for run in task.runs] == ["nns search", "largest that fits", "drawn at random"]
        assert task.runs[0].candidate.rank == 1
        assert all(run.candidate.params <= 5_000_000 for run in task.runs)
        assert 0 < task.chance <= 1
        image = next(task.data.rglob("*.png"))
        (prediction,), _ = predict(task.output, [image])
        assert prediction.label in Dataset.open(task.data).classes
    document = demo_document(report)
    assert set(document) == {"zoo", "tasks", "seconds"}
    json.dumps(document)
    render(report)
    said = capsys.readouterr().out
    assert "nns predict" in said
    assert "nns finetune ./mydata" in said
