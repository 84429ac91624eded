"""Reading a state dict from a checkpoint file, whatever the training script wrapped it in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import UsageError
from nns.untrusted import WEIGHTS, check_file, open_file

if TYPE_CHECKING:
    import torch

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "network")
"""Keys under which training scripts keep the weights beside optimiser and epoch; averaged weights come first, as in
timm, since those are what was evaluated."""

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
    try:
        return torch.load(checkpoint, map_location="cpu", weights_only=not trust_pickle)
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

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping | torch.nn.Module):
            return _unwrapped(loaded[wrapper], checkpoint)
    if not isinstance(loaded, Mapping) or not loaded:
        raise UsageError(f"{str(checkpoint)!r} holds no state dict but a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UsageError(
                f"{str(checkpoint)!r} holds no state dict: {str(name)!r:.60} is a {type(value).__name__}, no tensor"
            )
    state = dict(loaded)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
