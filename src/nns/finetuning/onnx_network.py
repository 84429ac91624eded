"""An exported network in onnxruntime: predicts on the CPU without torch.

The file may come from a stranger, with a card that names its digest. Before onnxruntime sees it, it is read whole and
bounded, and must be one input and one output around operations of a list, none of which reads another file, calls
other code or has a graph of its own, with shapes that are known beforehand and are not large.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.errors import UsageError, WeightsError
from nns.finetuning.card import Card
from nns.finetuning.handover import ONNX, read_card
from nns.finetuning.onnx_checks import what_is_wrong
from nns.untrusted import Kind, read_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger("nns")

PACKAGES = ("onnx", "onnxruntime")

ROOM = 16 * 2**20
"""Bytes that a file may have beside twice the weights that its card tells of."""
MOST_BYTES = 2**31 - 1
"""Of a file: what protobuf can hold."""
AT_ONCE = 8
"""Images of one pass."""
SMALL_MACS = 10**9
"""Multiply-accumulates of an image up to which one thread is best: operations are done before others have woken up."""


@dataclass(frozen=True)
class OnnxNetwork:
    """A fine-tuned network as an exported file.

    Attributes:
        session: Of onnxruntime.
        card: What it is.
    """

    session: Any
    card: Card

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the logits, (n, classes), of (n, 3, size, size) images; no temperature is in them."""
        return run_session(self.session, images) * np.float32(self.card.temperature)


def run_session(session: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute what a session gives for (n, 3, size, size) images, a few at a time."""
    parts = [np.ascontiguousarray(images[start : start + AT_ONCE]) for start in range(0, len(images), AT_ONCE)]
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: part})[0] for part in parts])


def can_run_onnx() -> bool:
    """Return whether the packages for it are installed."""
    return all(find_spec(package) is not None for package in PACKAGES)


def exported_beside(directory: str | os.PathLike[str]) -> OnnxNetwork | None:
    """Load the exported network that lies in the folder of a fine-tuned one, if there is one and it can be used."""
    folder = Path(directory).expanduser()
    if not (folder / ONNX).is_file() or not can_run_onnx():
        return None
    card = read_card(folder)
    content = _read(folder / ONNX, card)
    if hashlib.sha256(content).hexdigest() not in card.exports:
        _log.warning("%s is not what its card describes, and is not used; `nns export` writes it anew", folder / ONNX)
        return None
    return OnnxNetwork(open_session(content, card, folder / ONNX), card)


def load_onnx(directory: str | os.PathLike[str], file: str | os.PathLike[str]) -> OnnxNetwork:
    """Load a file that :func:`nns.finetuning.export` wrote of a fine-tuned network.

    Args:
        directory: Folder of the fine-tuned network.
        file: The file, wherever it is.

    Raises:
        UsageError: If packages are missing, or the folder holds no fine-tuned network.
        WeightsError: If the file cannot be read, is another than was exported, or does what such a network does not.
    """
    if not can_run_onnx():
        raise UsageError(f"{os.fspath(file)!r} needs {' and '.join(PACKAGES)}: pip install 'nns[export]'")
    card, path = read_card(directory), Path(file).expanduser()
    content = _read(path, card)
    if hashlib.sha256(content).hexdigest() not in card.exports:
        raise WeightsError(
            f"{str(path)!r} is not a file that was exported from {os.fspath(directory)!r}, or is damaged; "
            "`nns export` writes it anew"
        )
    return OnnxNetwork(open_session(content, card, path), card)


def _read(path: Path, card: Card) -> bytes:
    room = min(MOST_BYTES, 2 * card.bytes + ROOM)
    try:
        return read_file(path, Kind(f"an export of {card.spec.name!r:.80}", room))
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def open_session(content: bytes, card: Card, path: Path, threads: int | None = None) -> Any:
    """Check a network, and hand it to onnxruntime.

    Args:
        content: The file.
        card: What it should be.
        path: Its name, for messages.
        threads: Threads; None chooses.

    Raises:
        WeightsError: If it is no such network.
    """
    import onnxruntime

    if reason := what_is_wrong(content, card.preprocessing.size, len(card.classes)):
        raise WeightsError(f"{str(path)!r} is not used: {reason}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = _threads(card) if threads is None else threads
    # as everywhere: threads that spin at barriers make two slower than one where other work has the cores
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # bytes, not the name: what was checked is what runs
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own errors have no common class
        raise WeightsError(f"{str(path)!r} is damaged: {str(error)[:200]}") from error


def _threads(card: Card) -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    return 1 if card.macs < SMALL_MACS else len(os.sched_getaffinity(0))
