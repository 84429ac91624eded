"""Names of types that several stages use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

Json = Mapping[str, Any]
Settings = TypeVar("Settings")
Optimizer = Literal["adamw", "sgd"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Augment = Literal["crop", "affine"]
SplitName = Literal["train", "val", "test"]

Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``, called as things go on."""

PartProgress = Callable[[int, int], None]
"""``progress(done, total)`` of one thing."""
