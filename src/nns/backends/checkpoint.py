"""Reading a state dict from a checkpoint file, whatever the training script wrapped it in."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.backends.archives import ArchiveError, check_archive
from nns.errors import UsageError
from nns.jsonable import shown
from nns.rehearsal import TooMuchError, rehearse
from nns.untrusted import WEIGHTS, check_file, open_file

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "network")
"""Keys under which training scripts keep the weights beside optimiser and epoch; averaged weights come first, as in
timm, since those are what was evaluated."""

MAX_WRAPPERS = 8
MOST = 4
"""Bytes of tensors for each byte of a file: some state dicts name one tensor more than once."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


def read_state(checkpoint: Path, *, trust_pickle: bool = False) -> dict[str, torch.Tensor]:
    """Read a state dict from a file, without what it is wrapped in.

    Args:
        checkpoint: ``.safetensors``, or what torch saved: a state dict, bare or wrapped (:data:`WRAPPERS`).
        trust_pickle: Unpickle a file that holds more than tensors, which runs whatever code is in it.

    Raises:
        UsageError: If there is no such file, it is damaged, needs to be trusted, or holds no state dict.
    """
    try:
        check_file(checkpoint, WEIGHTS)
    except OSError as error:
        hint = "give a .safetensors file or a state dict of torch"
        raise UsageError(f"no checkpoint at {str(checkpoint)!r} ({error.strerror}): {hint}") from error
    loaded = _load_safetensors(checkpoint) if checkpoint.suffix == ".safetensors" else _load(checkpoint, trust_pickle)
    return _unwrapped(loaded, checkpoint)


def _load_safetensors(checkpoint: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(checkpoint)
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{str(checkpoint)!r} is not in safetensors format: {first_line(error)}") from error


def _load(checkpoint: Path, trust_pickle: bool) -> Any:
    import pickle

    import torch

    if trust_pickle:
        logging.getLogger("nns").warning("unpickling %s: whatever code is in it runs now", checkpoint)

    def load() -> Any:
        return torch.load(checkpoint, map_location="cpu", weights_only=not trust_pickle)

    try:
        if zipfile.is_zipfile(checkpoint):
            check_archive(checkpoint)
        if not trust_pickle:
            rehearse(lambda: _unwrapped(load(), checkpoint), checkpoint.stat().st_size)
        return load()
    except (ArchiveError, TooMuchError) as error:
        raise UsageError(f"{str(checkpoint)!r} {error}") from error
    except pickle.UnpicklingError as error:
        if trust_pickle or not _is_pickle(checkpoint):
            raise UsageError(f"{str(checkpoint)!r} is no checkpoint of torch, or a damaged one") from error
        raise UsageError(
            f"{str(checkpoint)!r} holds more than tensors, and unpickling it can run any code in it; save "
            "model.state_dict() instead, or give `trust_pickle` if you know where it comes from"
        ) from error
    except Exception as error:  # a damaged or trusted pickle raises whatever it likes
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{str(checkpoint)!r} cannot be read as a checkpoint of torch ({reason})") from error


def _is_pickle(checkpoint: Path) -> bool:
    """Return whether a file looks like torch's zip archive or a bare pickle."""
    with open_file(checkpoint, WEIGHTS) as file:
        return file.read(4)[:2] in {b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}


def _unwrapped(loaded: Any, checkpoint: Path) -> dict[str, torch.Tensor]:
    import torch

    for _ in range(MAX_WRAPPERS):  # a state may contain itself
        if isinstance(loaded, torch.nn.Module):
            loaded = loaded.state_dict()
        inner = [loaded[name] for name in WRAPPERS if isinstance(loaded, Mapping) and _holds_state(loaded.get(name))]
        if not inner:
            break
        loaded = inner[0]
    if not isinstance(loaded, Mapping) or not loaded:
        raise UsageError(f"{str(checkpoint)!r} holds no state dict but a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UsageError(
                f"{str(checkpoint)!r} holds no state dict: {shown(name):.60} is a {type(value).__name__}, no tensor"
            )
    state = _bounded(dict(loaded), checkpoint.stat().st_size)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _holds_state(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping | torch.nn.Module)


def _bounded(state: dict[str, torch.Tensor], size: int) -> dict[str, torch.Tensor]:
    """Refuse tensors that are views of a few bytes; two names of one tensor are none.

    Raises:
        UsageError: If the tensors have more bytes than the file.
    """
    import torch

    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise UsageError(f"tensor {name!r:.60} is sparse or quantised; save plain tensors")
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > MOST * size:
        raise UsageError(
            f"the tensors have more than {MOST} times the bytes of the file: they are views of few numbers"
        )
    return state


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
