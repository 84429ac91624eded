"""Teaching: components, a student that learns and goes on, export and loading."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from starter import exporting, training
from starter.teacher import fit_components
from starter.training import Lesson, rate_at

COUNT, OUTPUTS = 64, 8


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Images, and a teacher who sees their mean colours."""
    rng = np.random.default_rng(0)
    (tmp_path / "crops").mkdir()
    teacher = tmp_path / "teachers" / "colours"
    teacher.mkdir(parents=True)
    np.save(tmp_path / "crops/images64.npy", rng.integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8))
    np.save(teacher / "targets.npy", rng.normal(size=(COUNT, OUTPUTS)).astype(np.float16))
    (teacher / "progress.json").write_text(json.dumps({"done": COUNT}))
    (tmp_path / "crops/manifest.json").write_text(json.dumps({"kinds": {"test": COUNT}}))
    return tmp_path


def test_components_are_scaled_by_the_root_of_their_deviation():
    scale = torch.tensor([9.0, 4.0, 1.0, 0.01])
    sample = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0)) * scale
    fitted = fit_components(sample, count=3)
    components = (sample.numpy() - fitted["mean"]) @ fitted["basis"]
    deviations = components.std(0)
    assert np.allclose(deviations / deviations[2], [3.0, 2.0, 1.0], atol=0.1)
    assert np.isclose((components**2).mean(), 1.0, atol=0.02)


def test_the_rate_rises_and_falls():
    rates = [rate_at(progress, 0.1) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2] > rates[3] > rates[4] == pytest.approx(0.0)


@pytest.mark.parametrize("name", ["lcnet_035", "ofa_mbv3_w0.5"])
def test_a_student_goes_on_from_its_checkpoint_and_is_exported(name: str, work: Path):
    def teach(seconds: float) -> dict[str, object]:
        lesson = Lesson(seconds, batch=16, early=48)
        training.teach(name, work / "crops", [work / "teachers/colours"], work / "students" / name, lesson)
        return dict(json.loads((work / "students" / name / "log.jsonl").read_text().splitlines()[-1]))

    first = teach(0.5)
    second = teach(1.0)
    assert second["step"] > first["step"] > 0
    exporting.export(name, "", work / "crops", work / "students", work / "weights")
    about = json.loads((work / "weights" / f"{name}.json").read_text())
    assert about["images_seen"] == second["images"]
    path = work / "weights" / f"{name}.safetensors"
    network = (
        exporting.load_subnet(path, "smallest", classes=3)
        if name.startswith("ofa")
        else exporting.load_trunk(path, classes=3)
    )
    saved = torch.load(work / "students" / name / "checkpoint.pt", weights_only=True)["student"]
    first_name, first_weight = next(iter(network.state_dict().items()))
    assert torch.allclose(first_weight, saved[f"network.{first_name}"], atol=1e-3)
    assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
