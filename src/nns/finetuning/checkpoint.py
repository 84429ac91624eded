"""What a killed fine-tuning goes on from: one file beside the folder that will be written, whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nns.files import replacing
from nns.stores import canonical_json
from nns.untrusted import WEIGHTS, open_file

EVERY = 45.0
"""Seconds after which one is written within an epoch, so that less than a minute is lost."""
SHARE = 0.02
"""Share of the time that writing them at the ends of short epochs may take."""


@dataclass(frozen=True)
class Choice:
    """What a search chose.

    Attributes:
        networks: Ids of those to try.
        expected: The accuracies that are expected of them, by id.
        teacher: Who teaches them; None: nobody.
    """

    networks: list[str]
    expected: dict[str, float]
    teacher: str | None = None


class Checkpoint:
    """The state of a ladder in a file, with the arguments that it belongs to.

    Args:
        path: The file.
        settings: What a run must have in common with the one that wrote it: data, networks, recipe, seed.
        choice: What a search chose for it, and for what: see :meth:`chosen_for`.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], choice: Mapping[str, Any] | None = None) -> None:
        """Start the clock; nothing is read or written."""
        self.path = path
        self.key = _key(settings)
        self.choice = choice
        self._saved = time.perf_counter()
        self._cost = 0.0

    @staticmethod
    def beside(folder: Path) -> Path:
        """Name the file for a folder: hidden, and in the same place."""
        return folder.with_name(f".{folder.name}.unfinished")

    @classmethod
    def files(cls, folder: Path) -> tuple[Path, Path]:
        """Name the files for a folder: of what is trained for it, and of what teaches that."""
        return cls.beside(folder), cls.beside(folder.with_name(f"{folder.name}.teacher"))

    def read(self) -> dict[str, Any] | None:
        """Return the state; None if there is none, it is of another run, or it is no such file."""
        document = _read(self.path)
        state = document.get("state") if document.get("key") == self.key else None
        return dict(state) if isinstance(state, dict) else None

    @staticmethod
    def choice_of(question: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
        """Note what a search chose: another may choose otherwise, since it has less time or knows more by then."""
        return {"question": _key(question), **asdict(choice)}

    @staticmethod
    def chosen_for(path: Path, question: Mapping[str, Any]) -> Choice | None:
        """Return what was chosen for an interrupted run; None if there is none.

        Args:
            path: The file.
            question: All that the search and the training were asked.
        """
        choice = _read(path).get("choice")
        if not isinstance(choice, dict) or choice.get("question") != _key(question):
            return None
        try:
            expected = {str(network): float(value) for network, value in choice["expected"].items()}
            teacher = choice["teacher"]
            return Choice([str(each) for each in choice["networks"]], expected, teacher and str(teacher))
        except (KeyError, TypeError, ValueError, AttributeError):
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
            torch.save({"key": self.key, "choice": self.choice, "state": dict(state)}, temporary)
        self._saved = time.perf_counter()
        self._cost = self._saved - began

    def remove(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _key(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(settings)).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        with open_file(path, WEIGHTS) as file:
            # nothing is unpickled but tensors, numbers and texts
            return dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception:  # noqa: BLE001 - torch raises anything over a damaged file, and then there is none
        return {}


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
