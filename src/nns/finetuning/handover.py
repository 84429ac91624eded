"""What is handed over: a folder with weights, a card and a read-me, that works without any zoo.

The folder holds ``model.safetensors`` (the state dict), ``card.json``, ``classes.txt`` and ``README.md``.
It is written under a temporary name beside its place and then renamed, so it is there whole or not at all.
Reading it never unpickles anything.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nns.backends.loading import on_meta
from nns.documents import parse_json
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.files import real_path, replacing_folder, sweep_beside, write_whole
from nns.finetuning._readme import readme
from nns.finetuning.card import FORMAT, VERSION, Card, card_json, decode_card
from nns.plugins import install_hint, installed_plugins
from nns.untrusted import CARD as CARD_KIND
from nns.untrusted import WEIGHTS, Kind, read_file

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nns.backends import Backend
    from nns.plugins import Registry

MODEL = "model.safetensors"
CARD = "card.json"
CLASSES = "classes.txt"
README = "README.md"
ONNX = "model.onnx"
INT8 = "model.int8.onnx"
PT2 = "model.pt2"

OWN_FILES = frozenset({MODEL, CARD, CLASSES, README, ONNX, INT8, PT2})
"""Files that nns puts into such a folder; one that holds others is never replaced."""

MOST_EXPORTS = 50
"""Digests of exports that a card keeps."""

NAME_BYTES = 1000
"""Bytes of the name, type and shape of a tensor in a file of weights, at most."""


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned network.

    Attributes:
        module: The network in eval mode on the CPU.
        card: What it is.
    """

    module: nn.Module
    card: Card


def check_target(directory: str | os.PathLike[str]) -> Path:
    """Check that a fine-tuned network may be written there: call this before anything is trained.

    Raises:
        UsageError: If there is something that is not a fine-tuned network of nns, or holds other files too; or nothing
            may be written there.
    """
    target = real_path(Path(directory).expanduser())
    above = next((folder for folder in target.parents if folder.exists()), target)
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):  # what is there already is replaced in it, too
        raise UsageError(f"{str(directory)!r} cannot be written: {str(above)!r} takes no folders; name another folder")
    sweep_beside(target)
    if not target.exists():
        return target
    if not target.is_dir():
        raise UsageError(f"{str(directory)!r} is a file; name a folder")
    names = {path.name for path in target.iterdir()}
    if names and CARD not in names:
        raise UsageError(f"{str(directory)!r} is not empty and holds no fine-tuned network; name another folder")
    if names:
        _read_card(target)
    if names - OWN_FILES:
        foreign = min(names - OWN_FILES)
        raise UsageError(f"{str(directory)!r} holds {foreign!r}, which nns did not write; name another folder")
    return target


def write_handover(directory: str | os.PathLike[str], module: nn.Module, card: Card) -> Path:
    """Write a fine-tuned network to a folder; one that holds an earlier one is replaced.

    Args:
        directory: Where to; folders above it are made.
        module: The network.
        card: What it is; the digest of the weights is filled in.

    Returns:
        The folder.

    Raises:
        UsageError: If there is something else.
    """
    from safetensors.torch import save

    target = check_target(directory)
    weights = save(_state(module))
    card = replace(card, weights_sha256=hashlib.sha256(weights).hexdigest())
    with replacing_folder(target) as folder:
        (folder / MODEL).write_bytes(weights)
        (folder / CARD).write_text(_json(card), encoding="utf-8")
        (folder / CLASSES).write_text("".join(f"{' '.join(name.split())}\n" for name in card.classes), "utf-8")
        (folder / README).write_text(readme(card), encoding="utf-8")
    return target


def load_handover(directory: str | os.PathLike[str], *, registry: Registry | None = None) -> FineTuned:
    """Read a fine-tuned network. Needs no zoo; ``registry`` holds plugins in place of the installed ones.

    Raises:
        UsageError: If the folder holds no such network, or one of a newer format.
        UnknownNameError: If the backend that builds it is not installed.
        WeightsError: If its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(directory).expanduser()
    card = _read_card(folder)
    plugins = registry or installed_plugins()
    if card.spec.backend not in plugins.names("backend"):
        raise UnknownNameError(
            f"{str(folder)!r} needs backend {card.spec.backend!r:.80}, which is not installed"
            f"{install_hint(card.backend_from)}{plugins.failed()}"
        )
    backend = plugins.backend(card.spec.backend)
    try:
        weights = read_file(folder / MODEL, _kind(backend, card))
    except OSError as error:
        raise WeightsError(f"{str(folder / MODEL)!r} cannot be read: {error.strerror}") from error
    if hashlib.sha256(weights).hexdigest() != card.weights_sha256:
        raise WeightsError(f"{str(folder / MODEL)!r} is damaged: it is not the file that its card describes (sha256)")
    try:
        state = load(weights)
    except SafetensorError as error:
        raise WeightsError(f"{str(folder / MODEL)!r} is damaged: {error}") from error
    return FineTuned(backend.load(card.spec, state, len(card.classes)).eval(), card)


def _kind(backend: Backend, card: Card) -> Kind:
    """Bound the file by what the architecture can need, so that 40 GB of holes are not read for a small network."""
    plan = on_meta(lambda: backend.build(replace(card.spec, source="random"), len(card.classes)))
    tensors = () if plan is None else plan.state_dict().values()
    room = sum(8 * tensor.numel() + NAME_BYTES for tensor in tensors)
    return Kind(f"the weights of {card.spec.name!r:.80}", WEIGHTS.max_bytes if plan is None else room + NAME_BYTES)


def note_export(directory: str | os.PathLike[str], file: Path) -> bool:
    """Keep the digest of an exported file in the card, so that it is known again; tell whether that was possible."""
    folder = Path(directory).expanduser()
    digest = hashlib.sha256(read_file(file, WEIGHTS)).hexdigest()
    card = _read_card(folder)
    exports = (*(each for each in card.exports if each != digest), digest)[-MOST_EXPORTS:]
    try:
        write_whole(folder / CARD, _json(replace(card, exports=exports)))
    except OSError:  # a folder of somebody else's
        return False
    return True


def read_card(directory: str | os.PathLike[str]) -> Card:
    """Read the card alone, without torch.

    Raises:
        UsageError: If the folder holds no fine-tuned network, or one of a newer format.
        WeightsError: If the card is damaged.
    """
    return _read_card(Path(directory).expanduser())


def _read_card(folder: Path) -> Card:
    path = folder / CARD
    if not path.is_file():
        raise UsageError(f"{str(folder)!r} holds no fine-tuned network (no {CARD}); `nns finetune` writes one")
    try:
        row = parse_json(read_file(path, CARD_KIND))
    except OSError as error:
        raise WeightsError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{str(path)!r} is damaged: not JSON ({type(error).__name__})") from error
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        raise UsageError(f"{str(path)!r} is no card of a fine-tuned network (its format is not {FORMAT!r})")
    if row.get("version") != VERSION:
        raise UsageError(
            f"{str(path)!r} has version {row.get('version')!r:.20} of the format, this nns reads {VERSION}"
        )
    try:
        return decode_card(row)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{str(path)!r} is damaged: {error}") from error


def _json(card: Card) -> str:
    text = json.dumps(card_json(card), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if len(text.encode()) > CARD_KIND.max_bytes:
        raise UsageError(f"the card would have {len(text)} characters; class names or settings are too long")
    return text


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
