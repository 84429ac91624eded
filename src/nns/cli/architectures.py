"""``nns architectures``."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.backends import PretrainedOffer


def _trained(offer: PretrainedOffer | None) -> dict[str, Any] | None:
    if offer is None:
        return None
    accuracy = None if math.isnan(offer.accuracy) else offer.accuracy
    place = {} if offer.weights is None else {"weights_at": {"kind": offer.weights.kind, **asdict(offer.weights)}}
    return {"dataset": offer.dataset, "classes": len(offer.classes), "accuracy": accuracy, **place}


def _published(offer: PretrainedOffer | None) -> str:
    return "-" if offer is None or math.isnan(offer.accuracy) else f"{offer.accuracy:.1%}"


def architectures(
    pattern: Annotated[
        str,
        Argument(
            metavar="BACKEND[:PATTERN]",
            help="e.g. timm:mobilenetv3*",
            autocompletion=completion.installed_backends,
        ),
    ],
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    classes: Annotated[int, Option(min=1, help="Classes of the head that is counted.")] = 10,
    image_size: Annotated[int, Option(min=16, help="Side of the images in pixels.")] = 64,
    license: options.LicenseLimit = None,
    json: options.JsonFlag = False,
) -> None:
    """List architectures that a backend offers, counted, within limits, also those that come trained; no zoo is needed.

    Example: nns architectures 'timm:mobilenetv3*' --max-params 3M
    """
    from nns.cli.output import note, print_json, print_table, progress_bar
    from nns.networks.listing import list_architectures
    from nns.quantities import format_bytes, format_count, limits_of

    limits = limits_of(max_params, max_macs, max_size, license=license)
    name, _, glob = pattern.partition(":")
    backend = options.load_registry().backend(name)
    with progress_bar() as update:
        found = list_architectures(
            backend, glob or "*", classes, limits, image_size,
            on_progress=lambda p: update("counting", p.done, p.total, f"{p.name} ({p.kept} within the limits)"),
        )  # fmt: skip
    if json:
        print_json(
            {
                "architectures": [
                    {"backend": a.spec.backend, "name": a.spec.name, "source": a.spec.source, "params": a.params,
                     "macs": a.macs, "bytes": a.bytes, "license": a.license, "pretrained": _trained(a.offer)}
                    for a in found
                ]
            }
        )  # fmt: skip
        return
    rows = [
        [a.spec.name, a.spec.source, a.offer.dataset if a.offer else "-", _published(a.offer), a.license,
         format_count(a.params), format_count(a.macs), format_bytes(a.bytes)]
        for a in found
    ]  # fmt: skip
    columns = [("architecture", "left"), ("weights", "left"), ("trained on", "left"), ("accuracy", "right")]
    columns += [("licence", "left"), ("params", "right"), ("MACs", "right"), ("size", "right")]
    print_table(
        f"{pattern}: {counted(len(rows), 'architecture')}, {counted(classes, 'class')}, {image_size} px",
        columns,
        rows,
        least=("weights", "MACs", "accuracy", "trained on", "licence"),
    )
    if not rows:
        note("none within the limits")
