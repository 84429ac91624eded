"""What a reproducibility check runs: small enough for CI, large enough to touch every stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from nns.data.formats import is_path
from nns.documents import check_keys, convert
from nns.errors import UsageError
from nns.jsonable import shown
from nns.repro.digits import DIGITS_PREFIX
from nns.types import Limits

STAGES = ("data", "build", "fit", "search")
"""In the order in which they run; each works on what the one before it made."""

DEFAULT_TOLERANCE = 0.15
"""How far a mean or predicted accuracy may be off in another environment, see docs/reproducibility.md."""


MOST = {"networks": 10_000, "image_size": 1024, "max_images": 100_000, "epochs": 1000, "space_epochs": 1_000_000}
"""What a check, which may be a stranger's, can ask for at most."""


@dataclass(frozen=True)
class ReproSettings:
    """Settings of a check, kept in its lock file.

    Attributes:
        data: Datasets of the zoo: folders, tables, ``torchvision:NAME``, or ``digits:012`` for these digits of
            scikit-learn's.
        query: The dataset that is searched with, likewise.
        backends: Backends, as ``NAME`` or ``NAME:ARCHITECTURE``.
        networks: Networks of the zoo in all.
        image_size: Side of the training images in pixels.
        max_images: Training images of one dataset at most.
        epochs: Epochs of every training.
        method: Space method.
        space_epochs: Epochs of its fit; None: the method's choice.
        limits: Limits of the search; latency is left out, since no two runs measure the same.
        seed: Of every stage.
    """

    data: tuple[str, ...] = ("digits:012", "digits:345", "digits:67")
    query: str = "digits:89"
    backends: tuple[str, ...] = ("ofa", "timm")
    networks: int = 9
    image_size: int = 32
    max_images: int = 96
    epochs: int = 4
    method: str = "mixed"
    space_epochs: int | None = 200
    limits: Limits = field(default_factory=Limits)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the stages themselves would only find out late.

        Raises:
            UsageError: If there are fewer than two datasets, or a limit on latency.
        """
        if len(self.data) < 2:
            raise UsageError("a space needs at least two datasets: give `data` twice or more")
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise UsageError(f"`{name}` must be 1 to {most}, not {shown(value)}")
        if self.limits.max_latency is not None:
            raise UsageError("a latency is not reproducible: leave `max_latency` out of a reproducibility check")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return asdict(self) | {"data": list(self.data), "backends": list(self.backends)}

    def plugins(self) -> list[tuple[str, str]]:
        """Return kind and name of what plugins bring to the run."""
        backends = sorted({backend.partition(":")[0] for backend in self.backends})
        return [*(("backend", name) for name in backends), ("method", self.method)]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: If a setting is missing, unknown or of a wrong type, or makes no sense.
        """
        check_keys(values, cls)
        check_keys(values["limits"], Limits)
        return convert(values, cls)

    def relative_to(self, folder: Path) -> Self:
        """Return paths relative to the folder of the lock, so that a checkout elsewhere finds its data."""
        return self._with_data(lambda path: Path(os.path.relpath(Path(path).expanduser(), folder)).as_posix())

    def resolved(self, folder: Path) -> Self:
        """Undo :meth:`relative_to`."""
        return self._with_data(lambda path: str(folder / path))

    def _with_data(self, change: Any) -> Self:
        def changed(data: str) -> str:
            return data if data.startswith(DIGITS_PREFIX) or not is_path(data) else str(change(data))

        return replace(self, data=tuple(changed(data) for data in self.data), query=changed(self.query))
