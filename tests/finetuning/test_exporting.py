"""Exports: one safetensors file, and ONNX where its packages are installed."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from nns.errors import DatasetError, UnknownNameError, UsageError, WeightsError
from nns.finetuning import (
    Card,
    Entrant,
    LadderResult,
    card_json,
    climb,
    export,
    exporting,
    load_handover,
    predict,
    read_card,
    write_handover,
)
from nns.plugins import Registry, load_plugins
from nns.types import ArchitectureSpec, LabelledArrays, Preprocessing, SplitArrays

from .conftest import RECIPE


@pytest.fixture
def folder(tmp_path: Path, result: LadderResult, card: Card) -> Path:
    return write_handover(tmp_path / "out", result.module, card)


def test_safetensors_is_one_file_with_the_card(folder: Path, result: LadderResult, registry: Registry) -> None:
    exported = export(folder, "safetensors", registry=registry)
    assert exported.path == folder.parent / "out.safetensors"
    with safe_open(exported.path, "pt") as file:
        assert json.loads(file.metadata()["nns.card"]) == card_json(read_card(folder))
        for name, tensor in result.module.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)
    chosen = folder.parent / "deep" / "m.safetensors"
    assert export(folder, "safetensors", chosen, registry=registry).path == chosen
    assert [path.name for path in chosen.parent.iterdir()] == ["m.safetensors"]


def test_outputs_that_cannot_be_are_refused(folder: Path, registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="'onxx'; did you mean 'onnx'"):
        export(folder, "onxx", registry=registry)
    with pytest.raises(UsageError, match="is a folder"):
        export(folder, "safetensors", folder, registry=registry)
    with pytest.raises(UsageError, match="part of the network"):
        export(folder, "safetensors", folder / "model.safetensors", registry=registry)
    with pytest.raises(UsageError, match="no fine-tuned network"):
        export(folder.parent, "safetensors", registry=registry)


def test_missing_packages_are_named(folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"onnx and onnxscript: pip install 'nns\[export\]'"):
        export(folder, "onnx", registry=registry)


needs_onnx = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("onnx", "onnxscript", "onnxruntime")), reason="needs nns[export]"
)


@pytest.mark.slow
@needs_onnx
def test_onnx_computes_the_same(folder: Path, digits: SplitArrays, registry: Registry) -> None:
    import onnxruntime

    exported = export(folder, "onnx", registry=registry)
    assert exported.path == folder / "model.onnx"
    assert exported.difference is not None
    session = onnxruntime.InferenceSession(exported.path)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["nns.classes"]) == list(digits.classes)
    assert digits.test is not None
    (logits,) = session.run(None, {"images": digits.test.images[:50]})
    assert (logits.argmax(1) == digits.test.labels[:50]).mean() > 0.6


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize(("backend", "name"), [("timm", "mobilenetv3_small_050"), ("ofa", "")])
def test_onnx_of_the_built_in_backends(tmp_path: Path, card: Card, backend: str, name: str) -> None:
    registry = load_plugins()
    spec = registry.backend(backend).offers(name or "*")[0]
    candidate, data, card = _tiny_training(registry, replace(spec, source="random"), card)
    result = climb([candidate], lambda _: data, replace(RECIPE, epochs=1))
    folder = write_handover(tmp_path / "out", result.module, card)
    exported = export(folder, "onnx", registry=registry)
    assert exported.difference is not None
    assert exported.difference < 1e-3


@pytest.fixture
def bank(digits: SplitArrays, tmp_path: Path) -> Path:
    """Digits in class folders."""
    for number, (image, label) in enumerate(zip(digits.train.images, digits.train.labels)):
        path = tmp_path / "bank" / digits.classes[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return tmp_path / "bank"


def test_integers_need_images(folder: Path, registry: Registry) -> None:
    with pytest.raises(UsageError, match="`int8` needs `data`: .* 'digits', which it was fine-tuned on"):
        export(folder, "onnx", int8=True, registry=registry)
    with pytest.raises(UsageError, match="`int8` is for `format` 'onnx'"):
        export(folder, "safetensors", int8=True, registry=registry)


@needs_onnx
def test_integers_beside_floats(folder: Path, bank: Path, registry: Registry, nns: Any) -> None:
    told: list[tuple[str, int, int]] = []
    done = export(folder, "onnx", int8=True, data=bank, progress=lambda *each: told.append(each), registry=registry)
    assert (done.path, done.int8) == (folder / "model.onnx", folder / "model.int8.onnx")
    before, floats, integers = done.checks
    assert [check.name for check in done.checks] == ["torch", "ONNX fp32", "ONNX int8"]
    assert done.images > 30
    assert before.accuracy == floats.accuracy
    assert before.accuracy is not None and integers.accuracy is not None and integers.max_difference is not None
    assert before.accuracy > 0.6
    assert abs(done.lost - (before.accuracy - integers.accuracy)) < 1e-9
    assert abs(done.lost) <= exporting.LOST_REFUSED
    assert floats.max_difference is not None and floats.max_difference < 1e-3 < integers.max_difference
    assert integers.bytes == (folder / "model.int8.onnx").stat().st_size
    assert all(check.latency_ms > 0 for check in done.checks)
    assert len(read_card(folder).exports) == 2
    assert {"writing model.onnx", "writing model.int8.onnx", "comparing ONNX int8"} <= {what for what, _, _ in told}
    assert "ONNX int8" in str(done.table().rows)
    assert done.to_dict()["checks"][2]["name"] == "ONNX int8"
    image = next(bank.rglob("*.png"))
    found, _ = predict(folder, [image], onnx=folder / "model.int8.onnx")
    torchs, _ = predict(folder, [image], onnx=False, registry=registry)
    assert found[0].probability == pytest.approx(torchs[0].probability, abs=0.2)


@needs_onnx
def test_integers_that_lose_too_much_are_not_written(
    folder: Path, bank: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "LOST_REFUSED", -1.0)
    monkeypatch.setattr(exporting, "LOST_IMAGES", -(10**6))
    with pytest.raises(WeightsError, match=r"int8 loses .* points of accuracy on \d+ validation images"):
        export(folder, "onnx", int8=True, data=bank, registry=registry)
    assert (folder / "model.onnx").is_file()
    assert not (folder / "model.int8.onnx").exists()
    assert len(read_card(folder).exports) == 1


@needs_onnx
def test_other_classes_are_refused(folder: Path, bank: Path, registry: Registry) -> None:
    min(bank.iterdir()).rename(bank / "strange")
    with pytest.raises(DatasetError, match="classes that the network does not know, first 'strange'"):
        export(folder, "onnx", data=bank, registry=registry)


def test_a_program_of_torch(folder: Path, digits: SplitArrays, result: LadderResult, registry: Registry) -> None:
    done = export(folder, "pt2", registry=registry)
    assert done.path == folder / "model.pt2"
    extra = {"nns.size": ""}
    program = torch.export.load(done.path, extra_files=extra).module()
    assert extra["nns.size"] == "16"
    assert digits.test is not None
    images = torch.from_numpy(digits.test.images[:5])
    tuned = load_handover(folder, registry=registry)
    with torch.inference_mode():
        expected = exporting.with_normalisation(tuned)(images)
        assert torch.allclose(program(images), expected, atol=1e-4)
        assert torch.allclose(program(images[:1]), expected[:1], atol=1e-4)


def test_a_network_of_a_built_in_backend_comes_back(tmp_path: Path, card: Card) -> None:
    registry = load_plugins()
    candidate, data, card = _tiny_training(registry, ArchitectureSpec("timm", "mobilenetv3_small_050"), card)
    result = climb([candidate], lambda _: data, replace(RECIPE, epochs=1))
    tuned = load_handover(write_handover(tmp_path / "out", result.module, card), registry=registry)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(tuned.module(images), result.module(images), atol=1e-4)


def _tiny_training(registry: Registry, spec: ArchitectureSpec, card: Card) -> tuple[Entrant, SplitArrays, Card]:
    """A built-in network, twelve images of noise and the card that fits."""
    rng = np.random.default_rng(0)
    noise = LabelledArrays(rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), np.arange(12, dtype=np.int64) % 3)
    data = SplitArrays("noise", ("a", "b", "c"), noise, noise, None)
    pre = Preprocessing(32)
    backend = registry.backend(spec.backend)
    candidate = Entrant("x", spec.name, lambda: backend.build(spec, 3), pre)
    return candidate, data, replace(card, spec=spec, classes=data.classes, preprocessing=pre)
