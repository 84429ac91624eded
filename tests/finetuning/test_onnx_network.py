"""Predicting with an exported file: the same answers, and nothing that a stranger's file could do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nns.errors import UsageError, WeightsError
from nns.finetuning import Card, LadderResult, export, load_handover, predict, read_card, write_handover
from nns.finetuning import onnx_network as exported
from nns.finetuning.handover import note_export
from nns.finetuning.predicting import Prediction
from nns.plugins import Registry
from nns.types import SplitArrays

pytestmark = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("onnx", "onnxscript", "onnxruntime")), reason="needs nns[export]"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An exported network, made once: to export takes seconds."""
    return {"at": tmp_path_factory.mktemp("made")}


@pytest.fixture
def folder(made: dict[str, Path], tmp_path: Path, result: LadderResult, card: Card, registry: Registry) -> Path:
    """A fine-tuned network with its model.onnx."""
    if "folder" not in made:
        made["folder"] = write_handover(made["at"] / "model", result.module, card)
        export(made["folder"], "onnx", registry=registry)
    shutil.copytree(made["folder"], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def images(digits: SplitArrays, tmp_path: Path) -> list[Path]:
    assert digits.test is not None
    (tmp_path / "images").mkdir()
    for number, image in enumerate(digits.test.images[:20]):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "images" / f"{number:02d}.png")
    return [tmp_path / "images"]


def predicted(folder: Any, images: list[Path], **more: Any) -> tuple[Prediction, ...]:
    found, skipped = predict(folder, images, **more)
    assert not skipped
    return found


def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from nns.finetuning import predicting

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("torch was asked")

    monkeypatch.setattr(predicting, "load_handover", refuse)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_answers_are_torchs(
    folder: Path,
    images: list[Path],
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
    tmp_path: Path,
) -> None:
    from nns.finetuning.calibration import Calibration

    if temperature != 1:
        tuned = load_handover(folder, registry=registry)
        calibrated = replace(tuned.card, calibration=Calibration(temperature, 100), exports=())
        folder = write_handover(tmp_path / "calibrated", tuned.module, calibrated)
        export(folder, "onnx", registry=registry)
    expected = predicted(folder, images, onnx=False, registry=registry)
    no_torch(monkeypatch)
    for found in (predicted(folder, images), predicted(folder, images, onnx=folder / "model.onnx")):
        for one, two in zip(found, expected, strict=True):
            assert (one.path, one.label) == (two.path, two.label)
            assert one.probability == pytest.approx(two.probability, abs=1e-5)
            assert [label for label, _ in one.top] == [label for label, _ in two.top]


def test_a_file_elsewhere_is_known_by_its_digest(folder: Path, images: list[Path], tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.onnx"
    (folder / "model.onnx").rename(moved)
    assert len(predicted(folder, images, onnx=moved)) == 20
    content = bytearray(moved.read_bytes())
    content[len(content) // 2] ^= 1
    moved.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a file that was exported"):
        predict(folder, images, onnx=moved)
    with pytest.raises(WeightsError, match="No such file"):
        predict(folder, images, onnx=tmp_path / "none.onnx")


def test_another_file_in_the_folder_is_not_used(
    folder: Path, images: list[Path], registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "model.onnx").write_bytes(b"something else")
    assert predicted(folder, images, registry=registry)
    assert "is not what its card describes, and is not used" in caplog.text


def test_without_onnxruntime_torch_predicts(
    folder: Path, images: list[Path], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    assert predicted(folder, images, registry=registry)
    with pytest.raises(UsageError, match=r"onnx and onnxruntime: pip install 'nns\[export\]'"):
        predict(folder, images, onnx=folder / "model.onnx")


def test_a_pipe_or_a_giant_is_not_read(folder: Path, images: list[Path], tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(WeightsError, match="a named pipe"):
        predict(folder, images, onnx=tmp_path / "pipe.onnx")
    with (tmp_path / "holes.onnx").open("wb") as file:
        file.truncate(2**36)
    with pytest.raises(WeightsError, match="more than an export of .* may have"):
        predict(folder, images, onnx=tmp_path / "holes.onnx")


def outside(model: Any) -> None:
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    tensor.data_location = 1
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="/etc/passwd")


def outside_in_a_constant(model: Any) -> None:
    node = model.graph.node.add(op_type="Constant", output=["more"])
    tensor = node.attribute.add(name="value", type=4).t
    tensor.dims.append(100)
    tensor.data_type = 1
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="../../secret")


def calls_other_code(model: Any) -> None:
    model.graph.node.add(op_type="EPContext", domain="com.microsoft", output=["more"])


def loops(model: Any) -> None:
    node = model.graph.node.add(op_type="If", input=["images"], output=["more"])
    node.attribute.add(name="then_branch", type=5).g.name = "then"


def hidden_graph(model: Any) -> None:
    node = model.graph.node.add(op_type="Relu", input=[model.graph.node[0].output[0]], output=["more"])
    node.attribute.add(name="more", type=5).g.name = "then"


def functions(model: Any) -> None:
    model.functions.add(name="Relu", domain="mine")


def huge(model: Any) -> None:
    import onnx

    shape = onnx.helper.make_tensor("wide", 7, [1], [10**12])
    one = onnx.helper.make_tensor("one", 1, [1], [1.0])
    model.graph.initializer.extend([shape, one])
    model.graph.node.add(op_type="Expand", input=["one", "wide"], output=["more"])


def unknown_shape(model: Any) -> None:
    import onnx

    logits = model.graph.output[0].name
    model.graph.initializer.append(onnx.helper.make_tensor("flat", 7, [1], [-1]))
    model.graph.node.add(op_type="Reshape", input=[logits, "flat"], output=["row"])
    model.graph.node.add(op_type="Cast", input=["row"], output=["wide"]).attribute.add(name="to", type=2, i=7)
    model.graph.node.add(op_type="Expand", input=[logits, "wide"], output=["more"])


def other_classes(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def other_size(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4096


def second_input(model: Any) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])


EVIL: dict[Callable[[Any], None], str] = {
    outside: "its weights are in another file",
    outside_in_a_constant: "its weights are in another file",
    calls_other_code: "an operation 'EPContext'",
    loops: "an operation 'If'",
    hidden_graph: "a graph within its graph",
    functions: "operations of its own",
    huge: "numbers",
    unknown_shape: "cannot be told beforehand",
    other_classes: "does not give the logits of 10 classes",
    other_size: "does not take images of 16 pixels",
    second_input: "does not take images of 16 pixels",
}


@pytest.mark.parametrize("change", EVIL, ids=lambda change: change.__name__)
def test_a_file_that_does_more_than_it_should_is_not_run(
    folder: Path, images: list[Path], change: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime

    model = onnx.load_model_from_string((folder / "model.onnx").read_bytes())
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    assert note_export(folder, folder / "model.onnx"), "a stranger's card says that it is right"
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)  # it is refused before that
    for given in (True, folder / "model.onnx"):
        with pytest.raises(WeightsError, match=EVIL[change]):
            predict(folder, images, onnx=given)


def test_digests_are_noted_once(folder: Path) -> None:
    before = read_card(folder).exports
    assert len(before) == 1
    assert note_export(folder, folder / "model.onnx")
    assert read_card(folder).exports == before


def test_on_the_command_line_and_written_again(folder: Path, images: list[Path], nns: Any, registry: Registry) -> None:
    done = nns("predict", folder, *images, "--json")
    assert (done.code, len(done.json["predictions"])) == (0, 20), done.err
    done = nns("predict", folder, *images, "--onnx", folder / "card.json")
    assert done.code == 7
    assert "is not a file that was exported" in done.err
    tuned = load_handover(folder, registry=registry)
    again = write_handover(folder, tuned.module, replace(tuned.card, exports=()))
    assert sorted(path.name for path in again.iterdir()) == [
        "README.md",
        "card.json",
        "classes.txt",
        "model.safetensors",
    ]


def test_passes_are_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Session:
        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": "images"})]

        def run(self, _: None, given: dict[str, Any]) -> list[Any]:
            asked.append(len(given["images"]))
            return [np.zeros((len(given["images"]), 2), np.float32)]

    found = exported.run_session(Session(), np.zeros((19, 3, 4, 4), np.uint8))
    assert (found.shape, asked) == ((19, 2), [8, 8, 3])
