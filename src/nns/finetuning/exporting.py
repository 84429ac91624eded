"""Exporting a fine-tuned network: one safetensors file, or ONNX for other runtimes.

The ONNX model takes ``images``, uint8 (batch, 3, size, size), RGB, and gives ``logits``, float32 (batch,
classes). Normalisation is inside, for that is what callers get wrong, and the logits are divided by the temperature of
the card, so that their softmax is what ``nns predict`` says; the caller decodes and resizes (shorter side to ``size``,
centre square). Class names and size are in the model's metadata.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.files import real_path, replacing
from nns.finetuning.card import Card, card_json
from nns.finetuning.handover import CARD, MODEL, ONNX, FineTuned, load_handover

if TYPE_CHECKING:
    from torch import nn

    from nns.plugins import Registry

FORMATS = ("onnx", "safetensors")

ONNX_PACKAGES = ("onnx", "onnxscript")

TOLERANCE = 1e-3
"""Largest difference of logits between onnxruntime and torch, relative to the largest logit (or 1)."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        format: ``"safetensors"`` or ``"onnx"``.
        difference: Largest difference to torch's logits on random images, relative to the largest logit;
            None where it was not checked.
    """

    path: Path
    format: str
    difference: float | None = None


def export(
    directory: str | os.PathLike[str],
    format: str,
    output: str | os.PathLike[str] | None = None,
    *,
    registry: Registry | None = None,
) -> Exported:
    """Export a fine-tuned network to one file; a file of that name is replaced.

    Args:
        directory: Folder of the fine-tuned network.
        format: ``"safetensors"`` (the card as JSON is in the metadata under ``nns.card``) or ``"onnx"``.
        output: The file; by default ``model.onnx`` in the folder, or ``DIR.safetensors`` beside it.
        registry: Plugins in place of the installed ones.

    Raises:
        UnknownNameError: If the format is none of these.
        UsageError: If a package is missing, or the output is a folder.
        WeightsError: If the network is damaged, or onnxruntime computes something else than torch.
    """
    if format not in FORMATS:
        raise UnknownNameError.among("export format", format, FORMATS)
    folder = Path(directory).expanduser()
    if format == "onnx":
        _require_packages()
    if output is None:
        output = folder / ONNX if format == "onnx" else Path(f"{real_path(folder)}.safetensors")
    target = Path(output).expanduser()
    if target.is_dir():
        raise UsageError(f"{str(target)!r} is a folder; name a file, e.g. {str(target / f'model.{format}')!r}")
    if target.exists() and real_path(target) in {real_path(folder / MODEL), real_path(folder / CARD)}:
        raise UsageError(f"{str(target)!r} is part of the network itself; name another file")
    tuned = load_handover(folder, registry=registry)
    if format == "onnx":
        return Exported(target, format, _export_onnx(tuned, target))
    _export_safetensors(tuned, target)
    return Exported(target, format)


def _require_packages() -> None:
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None]
    if missing:
        raise UsageError(f"export to ONNX needs {' and '.join(missing)}: pip install 'nns[export]'")


def _export_safetensors(tuned: FineTuned, target: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in tuned.module.state_dict().items()}
    card = json.dumps(card_json(tuned.card), ensure_ascii=False)
    with replacing(target) as temporary:
        save_file(state, temporary, metadata={"format": "pt", "nns.card": card})


def _export_onnx(tuned: FineTuned, target: Path) -> float | None:
    import torch

    size = tuned.card.preprocessing.size
    module = _with_normalisation(tuned)
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
    program.model.metadata_props.update(_metadata(tuned.card))
    with replacing(target) as temporary:
        program.save(temporary, external_data=False)
        return _check_onnx(temporary, module, size)


def _metadata(card: Card) -> dict[str, str]:
    return {
        "nns.classes": json.dumps(card.classes, ensure_ascii=False),
        "nns.size": str(card.preprocessing.size),
        "nns.input": "uint8 RGB, shorter side resized to nns.size, centre square; normalisation is inside",
        "nns.network": card.network,
        "nns.license": card.license,
        "nns.temperature": f"{card.temperature:g} (the logits are divided by it already)",
    }


def _with_normalisation(tuned: FineTuned) -> nn.Module:
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


def _check_onnx(path: Path, module: nn.Module, size: int) -> float | None:
    """Compare with torch on batches of one and three random images; None without onnxruntime."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            expected = module(images)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((torch.from_numpy(found) - expected).abs().max()) / scale)
    if not worst <= TOLERANCE:
        raise WeightsError(f"the exported network differs from torch's by {worst:.1e} of the largest logit")
    return worst
