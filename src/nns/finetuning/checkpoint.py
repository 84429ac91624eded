"""What a killed fine-tuning goes on from: one file beside the folder that will be written, whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.files import replacing
from nns.stores import canonical_json
from nns.untrusted import WEIGHTS, open_file

if TYPE_CHECKING:
    pass

EVERY = 45.0
"""Seconds after which one is written within an epoch, so that less than a minute is lost."""
SHARE = 0.02
"""Share of the time that writing them at the ends of short epochs may take."""


class Checkpoint:
    """The state of a ladder in a file, with the arguments that it belongs to.

    Args:
        path: The file.
        settings: What a run must have in common with the one that wrote it: data, networks, recipe, seed.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Start the clock; nothing is read or written."""
        self.path = path
        self.key = hashlib.sha256(canonical_json(settings)).hexdigest()
        self._saved = time.perf_counter()
        self._cost = 0.0

    @staticmethod
    def beside(folder: Path) -> Path:
        """Name the file for a folder: hidden, and in the same place."""
        return folder.with_name(f".{folder.name}.unfinished")

    def read(self) -> dict[str, Any] | None:
        """Return the state; None if there is none, it is of another run, or it is no such file."""
        import torch

        try:
            with open_file(self.path, WEIGHTS) as file:
                # nothing is unpickled but tensors, numbers and texts
                document = torch.load(file, map_location="cpu", weights_only=True)
            return dict(document["state"]) if document["key"] == self.key else None
        except Exception:  # noqa: BLE001 - torch raises anything over a damaged file, and then there is none
            return None

    def due(self, at_end_of_epoch: bool) -> bool:
        """Tell whether it is time to write one."""
        since = time.perf_counter() - self._saved
        return since >= EVERY or (at_end_of_epoch and since * SHARE >= self._cost)

    def write(self, state: Mapping[str, Any]) -> None:
        """Write one; where there is no room the training goes on without."""
        import torch

        began = time.perf_counter()
        with suppress(OSError), replacing(self.path) as temporary:
            torch.save({"key": self.key, "state": dict(state)}, temporary)
        self._saved = time.perf_counter()
        self._cost = self._saved - began

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


Saver = Callable[[Callable[[], dict[str, Any]], bool], None]
"""``saver(state, at_end_of_epoch)``: called with a function that gives the state, which is called if one is due."""


def random_state() -> dict[str, Any]:
    """Return the states of the generators that a training draws from on the CPU."""
    import numpy as np
    import torch

    name, keys, *rest = np.random.get_state()  # the one that timm's mixup draws from
    return {"torch": torch.get_rng_state(), "numpy": [str(name), np.asarray(keys).tolist(), *rest]}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Put the generators into a state of :func:`random_state`."""
    import numpy as np
    import torch

    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
