"""Exporting a fine-tuned network: one safetensors file, ONNX for other runtimes, or a program of ``torch.export``.

The ONNX model takes ``images``, uint8 (batch, 3, size, size), RGB, and gives ``logits``, float32 (batch,
classes). Normalisation is inside, for that is what callers get wrong, and the logits are divided by the temperature of
the card, so that their softmax is what ``nns predict`` says; the caller decodes and resizes (shorter side to ``size``,
centre square). Class names and size are in the model's metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.files import real_path, replacing
from nns.finetuning.card import Card, card_json
from nns.finetuning.export_checks import CheckedImages, ExportCheck, checked_images, measure_exports
from nns.finetuning.handover import CARD, MODEL, ONNX, PT2, FineTuned, load_handover, note_export
from nns.finetuning.onnx_checks import what_is_wrong
from nns.finetuning.onnx_export import with_normalisation, write_int8, write_onnx, write_pt2
from nns.finetuning.onnx_network import open_session, run_session
from nns.tables import Table

if TYPE_CHECKING:
    from torch import nn

    from nns.plugins import Registry

FORMATS = ("onnx", "pt2", "safetensors")

ONNX_PACKAGES = ("onnx", "onnxscript")

TOLERANCE = 1e-3
"""Largest difference of logits between onnxruntime and torch, relative to the largest logit (or 1)."""

LOST_WARNED, LOST_REFUSED = 0.01, 0.05
"""Accuracy that integers may lose before that is said, and before they are not written."""
LOST_IMAGES = 3
"""Images that have to be lost for either: one of twenty is no five points."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, repr=False)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        format: ``"safetensors"``, ``"onnx"`` or ``"pt2"``.
        difference: Largest difference to torch's logits on random images, relative to the largest logit;
            None where it was not checked.
        int8: The file in integers of eight bits, if it was asked for.
        images: Validation images that the forms were compared on; 0: random ones.
        checks: Torch and each file of ONNX, on the same images.
        known: Whether the card could take the digests of the files: ``nns predict`` runs no others.
    """

    path: Path
    format: str
    difference: float | None = None
    int8: Path | None = None
    images: int = 0
    checks: tuple[ExportCheck, ...] = ()
    known: bool = True

    def __repr__(self) -> str:
        """Return one line."""
        return f"<Exported: {self.path}{'' if self.int8 is None else f' and {self.int8}'}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns export``."""
        return {
            "format": self.format,
            "output": str(self.path),
            "difference": self.difference,
            "int8": None if self.int8 is None else str(self.int8),
            "images": self.images,
            "checks": [asdict(check) for check in self.checks],
        }

    @property
    def lost(self) -> float:
        """Accuracy that integers lose, 0..1; 0 without them."""
        return _lost(self.checks)

    def table(self) -> Table:
        """Return the forms beside one another."""
        columns = ["size", "accuracy", "largest difference", "mean", "latency"]
        rows = [
            [
                check.name,
                f"{check.bytes / 1e6:.2f} MB",
                "-" if check.accuracy is None else f"{check.accuracy:.1%}",
                *("-" if each is None else f"{each:.2g}" for each in (check.max_difference, check.mean_difference)),
                f"{check.latency_ms:.2f} ms",
            ]
            for check in self.checks
        ]
        on = f"{self.images} validation images" if self.images else "random images"
        return Table(
            str(self.path),
            [("", "left"), *((name, "right") for name in columns)],
            rows,
            f"Differences of logits from torch's on {on}; latency of one image, one thread, median.",
        )


def export(
    directory: str | os.PathLike[str],
    format: str,
    output: str | os.PathLike[str] | None = None,
    *,
    int8: bool = False,
    data: Any = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
) -> Exported:
    """Export a fine-tuned network; a file of that name is replaced.

    Args:
        directory: Folder of the fine-tuned network.
        format: ``"safetensors"`` (the card as JSON is in the metadata under ``nns.card``), ``"onnx"``, or ``"pt2"``
            (for ``torch.export.load``).
        output: The file; by default ``model.onnx`` or ``model.pt2`` in the folder, or ``DIR.safetensors`` beside it.
        int8: Of ONNX also a file in integers of eight bits, beside it, with ``.int8`` in its name.
        data: What it was fine-tuned on, or other labelled images: training images tell the ranges of integers,
            validation images what each file is worth.
        progress: ``progress(what, done, total)``.
        registry: Plugins in place of the installed ones.

    Raises:
        UnknownNameError: If the format is none of these.
        UsageError: If a package is missing, the output is a folder, or integers are asked for without images.
        DatasetError: If the images are none of its classes.
        WeightsError: If the network is damaged, onnxruntime computes something else than torch, or integers lose more
            than :data:`LOST_REFUSED`.
    """
    if format not in FORMATS:
        raise UnknownNameError.among("export format", format, FORMATS)
    folder = Path(directory).expanduser()
    target = _target(folder, format, output)
    if int8 and format != "onnx":
        raise UsageError(f"`int8` is for `format` 'onnx', not {format!r}")
    if format == "onnx":
        _require_packages((*ONNX_PACKAGES, "onnxruntime") if int8 else ONNX_PACKAGES)
    tuned = load_handover(folder, registry=registry)
    if int8 and data is None:
        raise UsageError(
            f"`int8` needs `data`: images tell what range its numbers have; best are those of {tuned.card.dataset!r}, "
            "which it was fine-tuned on"
        )
    if format == "safetensors":
        _export_safetensors(tuned, target)
        return Exported(target, format)
    tell = progress or (lambda what, done, total: None)
    images = None if data is None else checked_images(tuned.card, data, tell, registry)
    module = with_normalisation(tuned)
    tell(f"writing {target.name}", 0, 1)
    if format == "pt2":
        with replacing(target) as temporary:
            write_pt2(module, tuned.card, temporary)
        return Exported(target, format)
    return _export_onnx(module, tuned.card, folder, target, int8, images, tell)


def _target(folder: Path, format: str, output: str | os.PathLike[str] | None) -> Path:
    beside = {"onnx": folder / ONNX, "pt2": folder / PT2}
    if output is None:
        output = beside.get(format) or Path(f"{real_path(folder)}.safetensors")
    target = Path(output).expanduser()
    if target.is_dir():
        raise UsageError(f"{str(target)!r} is a folder; name a file, e.g. {str(target / f'model.{format}')!r}")
    if target.exists() and real_path(target) in {real_path(folder / MODEL), real_path(folder / CARD)}:
        raise UsageError(f"{str(target)!r} is part of the network itself; name another file")
    return target


def _require_packages(packages: tuple[str, ...]) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"export to ONNX needs {' and '.join(missing)}: pip install 'nns[export]'")


def _export_safetensors(tuned: FineTuned, target: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in tuned.module.state_dict().items()}
    card = json.dumps(card_json(tuned.card), ensure_ascii=False)
    with replacing(target) as temporary:
        save_file(state, temporary, metadata={"format": "pt", "nns.card": card})


def _export_onnx(
    module: nn.Module, card: Card, folder: Path, target: Path, int8: bool, images: CheckedImages | None, tell: Progress
) -> Exported:
    with replacing(target) as temporary:
        write_onnx(module, card, temporary)
        difference = _check_onnx(temporary, module, card)
    known = note_export(folder, target)
    if find_spec("onnxruntime") is None:
        return Exported(target, "onnx", difference)
    files = {"ONNX fp32": target}
    small = target.with_name(f"{target.stem}.int8.onnx") if int8 else None
    if small is None or images is None:
        checks = measure_exports(module, card, files, images, tell)
        return Exported(target, "onnx", difference, None, len(images) if images else 0, checks, known)
    with replacing(small) as temporary:
        seen = len(images.calibration)
        write_int8(target, images.calibration, temporary, lambda done: tell(f"writing {small.name}", done, seen))
        checks = measure_exports(module, card, files | {"ONNX int8": temporary}, images, tell)
        if _lost(checks) > LOST_REFUSED and _lost(checks) * len(images) >= LOST_IMAGES:
            raise WeightsError(
                f"int8 loses {100 * _lost(checks):.1f} points of accuracy on {len(images)} validation images and was "
                f"not written; {target.name} (fp32) is there"
            )
    known &= note_export(folder, small)
    return Exported(target, "onnx", difference, small, len(images), checks, known)


def _lost(checks: tuple[ExportCheck, ...]) -> float:
    accuracy = {check.name: check.accuracy for check in checks}
    before, after = accuracy.get("torch"), accuracy.get("ONNX int8")
    return 0.0 if before is None or after is None else before - after


def _check_onnx(path: Path, module: nn.Module, card: Card) -> float | None:
    """Compare with torch on batches of one and three random images; None without onnxruntime."""
    if find_spec("onnxruntime") is None:
        return None
    import torch

    size, content = card.preprocessing.size, path.read_bytes()
    if reason := what_is_wrong(content, size, len(card.classes)):
        raise WeightsError(f"`nns predict` would not run the exported network: {reason}")
    session = open_session(content, card, path)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in (1, 3):
        images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            expected = module(images)
        found = torch.from_numpy(run_session(session, images.numpy()))
        scale = max(1.0, float(expected.abs().max()))
        worst = max(worst, float((found - expected).abs().max()) / scale)
    if not worst <= TOLERANCE:
        raise WeightsError(f"the exported network differs from torch's by {worst:.1e} of the largest logit")
    return worst
