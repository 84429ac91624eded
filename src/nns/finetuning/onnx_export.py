"""Writing a fine-tuned network as ONNX, in floats and in integers of eight bits.

Convolutions and matrix products are in integers (QDQ, a scale for each channel of the weights); ranges of activations
come from training images.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.finetuning.card import Card
from nns.finetuning.handover import FineTuned

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

CALIBRATION_IMAGES = 200
AT_ONCE = 20


def write_onnx(module: nn.Module, card: Card, path: Path) -> None:
    """Write a network of :func:`with_normalisation` as ONNX, one file, for any number of images."""
    import torch

    size = card.preprocessing.size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)  # a batch of one would be taken for a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about itself
        program: Any = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    program.model.metadata_props.update(_metadata(card))
    program.save(path, external_data=False)


def write_pt2(module: nn.Module, card: Card, path: Path) -> None:
    """Write it for ``torch.export.load``, for any number of images."""
    import torch

    size = card.preprocessing.size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    program = torch.export.export(module, (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}})
    with path.open("wb") as file:  # by a name it wants its own suffix
        torch.export.save(program, file, extra_files=_metadata(card))


def write_int8(source: Path, images: NDArray[np.uint8], path: Path, progress: Callable[[int], None]) -> None:
    """Quantise an ONNX file of :func:`write_onnx`.

    Args:
        source: The file.
        images: (n, 3, size, size) to tell the ranges of activations by.
        path: Where to.
        progress: Called with the number of images that were looked at.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.at = 0

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            progress(self.at)
            part = images[self.at : self.at + AT_ONCE]
            self.at += len(part)
            return {"images": part} if len(part) else None

    with _quiet(), TemporaryDirectory() as folder:
        simple = Path(folder) / "simple.onnx"
        quant_pre_process(source, simple, skip_symbolic_shape=True)
        quantize_static(
            simple,
            path,
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    model = onnx.load_model_from_string(path.read_bytes())
    known = {entry.key for entry in model.metadata_props}
    for entry in onnx.load_model_from_string(source.read_bytes()).metadata_props:
        if entry.key not in known:
            model.metadata_props.add(key=entry.key, value=entry.value)
    path.write_bytes(model.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Hear nothing of onnxruntime about how it would rather be called."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _metadata(card: Card) -> dict[str, str]:
    return {
        "nns.classes": json.dumps(card.classes, ensure_ascii=False),
        "nns.size": str(card.preprocessing.size),
        "nns.input": "uint8 RGB, shorter side resized to nns.size, centre square; normalisation is inside",
        "nns.network": card.network,
        "nns.license": card.license,
        "nns.temperature": f"{card.temperature:g} (the logits are divided by it already)",
    }


def with_normalisation(tuned: FineTuned) -> nn.Module:
    """Return a network that takes uint8 images, (n, 3, size, size), and gives calibrated logits, (n, classes)."""
    import torch
    from torch import nn

    temperature = tuned.card.temperature

    class Normalised(nn.Module):
        """A network that takes uint8 images and gives calibrated logits."""

        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            pre = tuned.card.preprocessing
            self.network = tuned.module
            self.register_buffer("mean", torch.tensor(pre.mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(pre.std).view(1, 3, 1, 1) * 255)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network((images.float() - self.mean) / self.std)
            return logits if temperature == 1 else logits / temperature

    return Normalised().eval()
