"""The ``timm`` backend: any architecture of timm, by name."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.backends._base import Backend, PretrainedOffer, Published, WorkItem, spdx
from nns.backends.timm import trunks, weights
from nns.errors import UnknownNameError
from nns.hookspecs import Register, hookimpl
from nns.types import ArchitectureSpec, Json, Preprocessing, Training

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

PRETRAINED_CHOICES = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
CUT_AFTER = (3, 4, 5)
"""Stages of an EfficientNet-Lite, of seven, that make networks of their own: 0.06 to 1.2 M parameters.

Six of them are three times as large as five and did worse on twelve tasks (docs/results.md)."""

PRETRAINED_SHARES = (0.6, 0.25, 0.15)
"""Larger ones are drawn less often: they cost 1.6 and 2.3 times the training of lite0."""

SMALL_CHOICES = (
    "mobilenetv3_small_050",
    "mobilenetv3_small_075",
    "lcnet_050",
    "lcnet_075",
    "tinynet_e",
    "tinynet_d",
    "mnasnet_small",
    "semnasnet_050",
    "mobilenetv2_050",
    "resnet10t",
)
"""Architectures of 0.3 to 5 M parameters that train from scratch on a small dataset in seconds."""

SMALL_SIZE = 48
FINETUNE = Training(epochs=4, optimizer="adamw", lr=1e-3)
SCRATCH = Training(epochs=15, optimizer="adamw", lr=3e-3)


class TimmBackend(Backend):
    """Any timm architecture: fine-tuned from ImageNet weights, or small and trained from scratch."""

    name = "timm"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List timm's architectures; those whose ImageNet weights are installed start from them."""
        import timm

        names = [name for name in timm.list_models() if fnmatch.fnmatch(name, pattern)]
        if not names:
            raise UnknownNameError.among("timm architecture", pattern, timm.list_models())
        return [self._spec(name) for name in names]

    @staticmethod
    def _spec(name: str) -> ArchitectureSpec:
        return ArchitectureSpec("timm", name, {}, weights.IMAGENET if weights.installed(name) else weights.RANDOM)

    def pretrained(self) -> Sequence[PretrainedOffer]:
        """List the EfficientNet-Lites whose ImageNet weights are installed as packages, whole and cut after a stage."""
        from timm.data import ImageNetInfo  # type: ignore[attr-defined]

        classes = tuple(ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
        return [
            PretrainedOffer(ArchitectureSpec("timm", name, {}, weights.IMAGENET), classes, "imagenet-1k", accuracy)
            for name, accuracy in weights.IMAGENET_ACCURACY.items()
            if weights.installed(name)
        ] + [
            PretrainedOffer(ArchitectureSpec("timm", f"{name}-s{stages}", {}, weights.IMAGENET), (), "imagenet-1k", nan)
            for name in weights.IMAGENET_ACCURACY
            if weights.installed(name)
            for stages in CUT_AFTER
        ]

    def load_pretrained(self, offer: PretrainedOffer) -> nn.Module:
        """Create the network with the weights of its package."""
        return weights.create_pretrained(offer.spec).eval()

    def packaged_file(self, spec: ArchitectureSpec) -> tuple[str, str] | None:
        """Name the package of an EfficientNet-Lite's ImageNet weights, if it is installed."""
        return weights.packaged_file(spec.name) if spec.source == weights.IMAGENET else None

    def read_weights(self, spec: ArchitectureSpec, path: Path) -> Mapping[str, torch.Tensor]:
        """Read weights; those of a package, and of the layouts that timm converts when it loads, under timm's names."""
        return weights.in_order(spec.name, super().read_weights(spec, path))

    def load(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Build a network and give it trained weights; one that is to have no head does without that of the weights."""
        if not classes:
            head = getattr(_config(spec.name), "classifier", None) or ()
            heads = tuple(f"{name}." for name in ([head] if isinstance(head, str) else head))
            state = {name: tensor for name, tensor in state.items() if not name.startswith(heads)}
        return super().load(spec, state, classes)

    def read_config(self, config: Json) -> Published | None:
        """Read the ``config.json`` of a network of timm's."""
        from nns.backends.timm.config import read_config

        found = read_config(config)
        return found and replace(found, license=spdx(found.license) if found.license else "")

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Propose one fine-tuned EfficientNet-Lite for every two small networks from scratch."""
        rng = np.random.default_rng([seed, 0x7133])
        pretrained = min((networks + 2) // 3, len(PRETRAINED_CHOICES))
        small = min(networks - pretrained, len(SMALL_CHOICES))
        chosen = rng.choice(PRETRAINED_CHOICES, pretrained, replace=False, p=PRETRAINED_SHARES).tolist()
        items = [
            WorkItem(self.name, (ArchitectureSpec("timm", name, {}, weights.IMAGENET),), image_size, FINETUNE, 20.0)
            for name in chosen
        ]
        items += [
            WorkItem(self.name, (ArchitectureSpec("timm", name),), min(image_size, SMALL_SIZE), SCRATCH, 20.0)
            for name in rng.choice(SMALL_CHOICES, small, replace=False).tolist()
        ]
        return items

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build by ``timm.create_model``; see :mod:`nns.backends.timm.weights` for the sources."""
        import timm

        from nns.backends.seeding import seeded

        weights.check_name(spec.name)
        with seeded(seed):
            if spec.source == weights.RANDOM:
                base, stages = trunks.base_and_stages(spec.name)
                module = timm.create_model(base, pretrained=False, num_classes=classes)
                return module if stages is None else trunks.cut(module, base, stages, classes)
            module = weights.create_pretrained(spec)
        return self.replace_head(module, classes, seed)

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put on a fresh head by timm's own ``reset_classifier``."""
        from nns.backends.seeding import seeded

        with seeded(seed):
            module.reset_classifier(classes)  # type: ignore[operator]
        return module

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Run all but the classifier, (n, num_features)."""
        timm_module: Any = module
        features: torch.Tensor = timm_module.forward_head(timm_module.forward_features(images), pre_logits=True)
        return features.flatten(1)

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return timm's own mean and deviation; the size asked for, unless the architecture has a fixed one."""
        config = _config(spec.name)
        if config is None:
            return Preprocessing(image_size or 224)
        fixed = bool(getattr(config, "fixed_input_size", False))
        size = config.input_size[-1] if fixed or not image_size else image_size
        red, green, blue = config.mean
        dr, dg, db = config.std
        return Preprocessing(size, (red, green, blue), (dr, dg, db))

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Timm architectures share no topology vector; the graph statistics describe them."""
        return ()

    def license(self, spec: ArchitectureSpec) -> str:
        """Return the licence of the pretrained weights, as timm states it; Apache-2.0 for weights of nns's own.

        Of a local file only its owner knows: ``config["license"]``, or SPDX's ``NOASSERTION``.
        """
        if spec.source == weights.FILE:
            return str(spec.config.get("license") or "NOASSERTION")
        config = _config(spec.name)
        stated = getattr(config, "license", None) if config and spec.source != weights.RANDOM else None
        return spdx(stated) if stated else "Apache-2.0"


def _config(name: str) -> Any:
    """Return timm's configuration of pretrained weights, None where it has none.

    Raises:
        UnknownNameError: If there is no such architecture, or none with that tag.
    """
    import timm

    weights.check_name(name)
    try:
        return timm.get_pretrained_cfg(trunks.base_and_stages(name)[0])
    except RuntimeError as error:
        raise UnknownNameError.among("timm architecture", name, timm.list_pretrained()) from error


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("timm", TimmBackend)
