"""The ``config.json`` with which timm's networks are published, read as what anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nns.backends._base import Published
from nns.backends.timm.weights import is_known
from nns.errors import UsageError
from nns.types import ArchitectureSpec, Json, Preprocessing

SOURCE = "hub"
"""Source of a network whose weights a zoo refers to."""

MAX_CLASSES = 100_000
SIZES = range(8, 4097)

_DATASETS = {"in1k": "imagenet-1k", "in12k": "imagenet-12k", "in21k": "imagenet-21k", "in22k": "imagenet-22k"}
"""What tags of weights end with, after the last ``_``: the last dataset that they were trained on."""


def read_config(config: Json) -> Published | None:
    """See :meth:`nns.backends.Backend.read_config`."""
    name, stated = config.get("architecture"), config.get("pretrained_cfg", config)
    if not isinstance(name, str) or not is_known(name) or not isinstance(stated, dict):
        return None
    if config.get("model_args"):
        raise UsageError(f"{name!r} was published with settings of its own ({sorted(config['model_args'])!r:.100})")
    classes = config.get("num_classes", stated.get("num_classes", 0))
    if type(classes) is not int or not 0 <= classes <= MAX_CLASSES:
        raise UsageError(f"{name!r} with {classes!r:.20} classes")
    dataset = _DATASETS.get(str(stated.get("tag")).rpartition("_")[2], "")
    license = stated.get("license")
    return Published(
        ArchitectureSpec("timm", name, {}, SOURCE),
        Preprocessing(_size(name, stated), _channels(stated, "mean"), _channels(stated, "std")),
        _names(config.get("label_names", stated.get("label_names")), classes, dataset),
        dataset,
        license if isinstance(license, str) else "",
    )


def _size(name: str, stated: Json) -> int:
    size = stated.get("input_size")
    if not isinstance(size, Sequence) or len(size) != 3 or size[0] != 3 or size[1] != size[2] or size[1] not in SIZES:
        raise UsageError(f"{name!r} takes {size!r:.40}, which are no square images of three channels")
    return int(size[1])


def _channels(stated: Json, key: str) -> tuple[float, float, float]:
    values = stated.get(key)
    if not isinstance(values, Sequence) or len(values) != 3 or not all(type(each) in (int, float) for each in values):
        raise UsageError(f"{key} {values!r:.60} is not three numbers")
    red, green, blue = (float(each) for each in values)
    if not all(map(math.isfinite, (red, green, blue))):
        raise UsageError(f"{key} {values!r:.60} is not three numbers")
    return red, green, blue


def _names(stated: Any, classes: int, dataset: str) -> tuple[str, ...]:
    if isinstance(stated, Sequence) and len(stated) == classes and all(isinstance(each, str) for each in stated):
        return tuple(stated)
    if dataset == "imagenet-1k" and classes == 1000:
        from timm.data import ImageNetInfo  # type: ignore[attr-defined]

        return tuple(ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
    return tuple(str(number) for number in range(classes))
