"""``nns predict`` and ``nns export``: using what ``nns finetune`` handed over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from csv import writer as csv_writer
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

from typer import Argument, Option

from nns.cli import completion, options
from nns.cli.pages import check_report
from nns.files import replacing
from nns.quantities import counted

FORMATS = "safetensors|onnx|pt2"

SHOWN_EVERY = 32

MISTAKES = 3
"""Mistakes that are named on the terminal; ``--json`` has more."""

Folder = Annotated[Path, Argument(metavar="DIR", help="Folder that `nns finetune` wrote.")]


def predict(
    folder: Folder,
    images: Annotated[
        list[str], Argument(metavar="IMAGE|FOLDER|-...", help="Image files, folders of them, or - for a list on stdin.")
    ],
    top: Annotated[int, Option(min=1, metavar="K", help="Classes to name for each image.")] = 3,
    csv: Annotated[Path | None, Option(metavar="FILE", help="Write path, label and probability, as they come.")] = None,
    onnx: Annotated[
        Path | None, Option(metavar="FILE", help="Run this file of `nns export`; default: model.onnx in DIR, if there.")
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Classify images with a fine-tuned network; the zoo is not needed.

    With --csv any number of images takes no more memory than a few.

    Example: nns predict ./model photo.jpg
    """
    from nns.cli.output import note, print_json, print_table, progress_bar
    from nns.data import Skipped
    from nns.errors import DatasetError
    from nns.finetuning.predicting import Prediction, predict_each

    predictions: list[Prediction] = []
    skipped: list[Skipped] = []
    done = 0
    with progress_bar() as update, _csv_rows(csv, ["path", "label", "probability"]) as write:
        for found in predict_each(folder, _places(images), top=top, onnx=onnx or True):
            if isinstance(found, Skipped):
                skipped.append(found)
            else:
                done += 1
                write([found.path, found.label, found.probability])
                if csv is None:
                    predictions.append(found)
            if done % SHOWN_EVERY == 0:
                update("predicting", done, None)
    if csv is not None:
        for item in skipped:
            note(f"skipped {item.path}: {item.reason}")
        note(f"wrote {csv}: {counted(done, 'image')}")
    elif json:
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
    if not done:
        raise DatasetError(
            f"none of the {len(skipped)} images could be read" if skipped else "there are no images there"
        )


def evaluate(
    folder: Folder,
    data: options.Data,
    csv: Annotated[Path | None, Option(metavar="FILE", help="Write precision, recall and F1 of the classes.")] = None,
    report: Annotated[Path | None, Option(metavar="FILE.html", help="Write a page with all of it.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Say how good a fine-tuned network is on labelled images, class by class; the zoo is not needed.

    Of the dataset that it was fine-tuned on, the test split counts, which it has never seen.

    Example: nns evaluate ./model ./mydata
    """
    from nns.cli.output import note, print_json, progress_bar, render_table
    from nns.finetuning import load_handover
    from nns.finetuning.evaluating import evaluate_network

    if report is not None:
        check_report(report, ["jinja2"])
    tuned = load_handover(folder)
    with progress_bar() as update:
        found = evaluate_network(
            tuned,
            data,
            pictures=report is not None,
            progress=lambda done, total: update("reading images", done, total),
        )
    if report is not None:
        from nns.cli.evaluation_report import write_report

        write_report(found, tuned.card, report, f"nns evaluate {folder} {data} --report {report}")
        note(f"wrote {report}")
    if csv is not None:
        header = ["class", "images", "precision", "recall", "f1", "recall_low", "recall_high"]
        header += ["precision_low", "precision_high", "f1_low", "f1_high"]
        with _csv_rows(csv, header) as write:
            for c in found.classes:
                ends = [*c.interval, *c.precision_interval, *c.f1_interval]
                write([c.name, c.images, c.precision, c.recall, c.f1, *ends])
    for item in found.skipped:
        note(f"skipped {item.path}: {item.reason}")
    if json:
        print_json(found.to_dict())
        return
    for table in found.tables():
        render_table(table)
    for mistake in found.mistakes[:MISTAKES]:
        note(f"{mistake.path} is {mistake.true}, taken for {mistake.said} ({mistake.probability:.0%} sure)")
    model = quote(str(folder))
    page = f"nns evaluate {model} {quote(data)} --report evaluation.html"
    note(f"Next: {page if report is None and found.mistakes else f'nns predict {model} IMAGE...'}")


def export(
    folder: Folder,
    format: Annotated[
        str,
        Option(metavar=FORMATS, help="What to write.", autocompletion=completion.one_of(FORMATS)),
    ],
    int8: Annotated[bool, Option("--int8", help="Of ONNX also a file in 8-bit integers; needs --data.")] = False,
    data: Annotated[
        str | None, Option(metavar="DATA", help="Its images: to quantise by, and to compare the files on.")
    ] = None,
    output: Annotated[Path | None, Option("--output", "-o", metavar="FILE", help="Where to write it.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Write a fine-tuned network in another format.

    Each file of ONNX is compared with the network itself: answers, accuracy, latency and size.

    Example: nns export ./model --format onnx --int8 --data ./mydata
    """
    from nns.cli.output import note, print_json, progress_bar, render_table
    from nns.finetuning import export as run_export
    from nns.finetuning.exporting import LOST_IMAGES, LOST_WARNED

    with progress_bar() as update:
        exported = run_export(folder, format, output, int8=int8, data=data, progress=update)
    if exported.lost > LOST_WARNED and exported.lost * exported.images >= LOST_IMAGES:
        note(f"warning: int8 loses {100 * exported.lost:.1f} points of accuracy on {exported.images} images")
    if not exported.known:
        note(f"the card in {folder} cannot be written: `nns predict` will not know the files again")
    if json:
        print_json(exported.to_dict())
        return
    for path in filter(None, (exported.path, exported.int8)):
        note(f"wrote {path}")
    if exported.checks:
        render_table(exported.table())


def _places(images: list[str]) -> Iterator[str]:
    """Put what is on stdin, a path a line, in the place of ``-``."""
    for each in images:
        if each == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield each


@contextmanager
def _csv_rows(path: Path | None, header: list[str]) -> Iterator[Callable[[list[Any]], object]]:
    """Yield what writes a row of a table; the file is there whole or not at all. Without a path nothing is done."""
    if path is None:
        yield lambda row: None
        return
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        rows = csv_writer(file)
        rows.writerow(header)
        yield rows.writerow
