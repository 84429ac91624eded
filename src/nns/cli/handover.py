"""``nns predict`` and ``nns export``: using what ``nns finetune`` handed over."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from nns.cli import options

Folder = Annotated[Path, Argument(metavar="DIR", help="Folder that `nns finetune` wrote.")]


def predict(
    folder: Folder,
    images: Annotated[list[Path], Argument(metavar="IMAGE...", help="Image files.")],
    top: Annotated[int, Option(min=1, metavar="K", help="Classes to name for each image.")] = 3,
    json: options.JsonFlag = False,
) -> None:
    """Classify images with a fine-tuned network; the zoo is not needed.

    Example: nns predict ./model photo.jpg
    """
    from nns.cli.output import note, print_json, print_table
    from nns.errors import DatasetError
    from nns.finetuning import predict as run_predict

    predictions, skipped = run_predict(folder, images, top=top)
    if json:
        print_json(
            {
                "predictions": [
                    {"path": p.path, "label": p.label, "probability": round(p.probability, 6)}
                    | {"top": [{"label": label, "probability": round(chance, 6)} for label, chance in p.top]}
                    for p in predictions
                ],
                "skipped": [asdict(item) for item in skipped],
            }
        )
    else:
        for item in skipped:
            note(f"skipped {item.path}: {item.reason}")
        rows = [
            [
                str(p.path),
                p.label,
                f"{p.probability:.1%}",
                ", ".join(f"{label} {chance:.1%}" for label, chance in p.top[1:]),
            ]
            for p in predictions
        ]
        columns = [("image", "left"), ("class", "left"), ("probability", "right"), ("or else", "left")]
        if rows:
            print_table(str(folder), columns, rows)
    if not predictions:
        raise DatasetError(f"none of the {len(skipped)} images could be read")


def export(
    folder: Folder,
    format: Annotated[str, Option(metavar="safetensors|onnx", help="What to write.")],
    output: Annotated[Path | None, Option("--output", "-o", metavar="FILE", help="Where to write it.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Write a fine-tuned network in another format.

    Example: nns export ./model --format onnx
    """
    from nns.cli.output import note, print_json
    from nns.finetuning import export as run_export

    exported = run_export(folder, format, output)
    if json:
        print_json({"format": exported.format, "output": str(exported.path), "difference": exported.difference})
    else:
        note(f"wrote {exported.path}")
