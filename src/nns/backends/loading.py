"""Weights into a network: names, shapes and types are compared on the meta device, before the network takes memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nns.errors import NnsError, WeightsError
from nns.types import ArchitectureSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

LARGEST = 1e15
"""No weight is larger: beyond it a network computes nothing but infinities."""


def load_weights(
    module: nn.Module | Callable[[], nn.Module], spec: ArchitectureSpec, state: Mapping[str, torch.Tensor]
) -> nn.Module:
    """Load trained weights into a network or supernet, and put it into eval mode.

    Args:
        module: The network, or what builds it. That is called on the meta device first, so that a name which stands
            for gigabytes costs nothing where the weights are of something smaller.
        spec: Its architecture, for messages.
        state: The weights.

    Raises:
        WeightsError: If names, shapes or types do not fit, or a weight is no finite number.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        plan = on_meta(module)
        if plan is not None:
            _compare(plan, spec, state)
        module = module()
    _compare(module, spec, state)
    _refuse_odd_numbers(spec, state)
    given = OrderedDict(state)
    # the versions of layers' layouts, which a copy and a file drop: torchvision's MNASNet refuses a state without. What
    # has no own ones has the layout of today, since names and shapes are those of the network
    given._metadata = getattr(state, "_metadata", None) or module.state_dict()._metadata  # type: ignore[attr-defined]
    try:
        module.load_state_dict(given)
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()
        raise WeightsError(f"weights do not fit {spec.name!r}: {first[-1].strip()}") from error
    return module.eval()


def on_meta(build: Callable[[], nn.Module]) -> nn.Module | None:
    """Build without memory; None where a library cannot."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except NnsError:
        raise
    except Exception:  # noqa: BLE001 - whatever a library makes of the meta device
        return None


def _compare(module: nn.Module, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor]) -> None:
    # load_state_dict would say so too, but that of some libraries leaves what is missing at random
    wanted = module.state_dict()
    for what, names in (("lack", wanted.keys() - state.keys()), ("have an unknown", state.keys() - wanted.keys())):
        if names:
            raise WeightsError(f"weights do not fit {spec.name!r}: they {what} {min(names)!r:.200} ({len(names)} such)")
    for name, ours in wanted.items():
        theirs = state[name]
        if ours.shape != theirs.shape:
            shapes = f"{tuple(theirs.shape)}, where it has {tuple(ours.shape)}"
            raise WeightsError(f"weights do not fit {spec.name!r}: {name!r} is of shape {shapes}")
        if _sort(ours) != _sort(theirs):  # torch would cast them without a word
            types = f"{theirs.dtype}, where it has {ours.dtype}"
            raise WeightsError(f"weights do not fit {spec.name!r}: {name!r} is of type {types}")


def _sort(tensor: torch.Tensor) -> str:
    if tensor.is_floating_point():
        return "float"
    return "complex" if tensor.is_complex() else "bool" if str(tensor.dtype) == "torch.bool" else "integer"


def _refuse_odd_numbers(spec: ArchitectureSpec, state: Mapping[str, torch.Tensor]) -> None:
    import torch

    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel():
            # one pass, NaN is in both; types of 8 bits have no such function
            least, most = torch.aminmax(tensor if tensor.element_size() > 1 else tensor.float())
            if not (float(least) >= -LARGEST and float(most) <= LARGEST):
                raise WeightsError(f"weights of {spec.name!r} are damaged: {name!r} holds NaN or {LARGEST:g} and more")
