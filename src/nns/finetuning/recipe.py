"""Recipes: how a network is trained on a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.errors import PluginError
from nns.types import Augment, Optimizer, Precision

if TYPE_CHECKING:
    from nns.plugins import Registry


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training split at most.
        seconds: Wall-clock budget; None means that ``epochs`` alone decides. The learning rate follows
            whichever of the two is further on, so that a run cut by its budget still ends at a low rate.
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum, made by timm.
        lr: Peak learning rate.
        weight_decay: Applied to weights of two dimensions or more.
        momentum: Of SGD.
        batch_size: Images a step.
        warmup: Share of the training in which the rate rises, 0..1.
        label_smoothing: 0..1.
        layer_decay: Factor on the rate from each layer to the one before it, 0..1: the first layers, which know most of
            what is common to all images, move least. 1: all alike.
        ema: Decay, each step, of the moving average of the weights that is measured and handed over (timm's); 0: the
            weights themselves.
        mixup: Alpha of the Beta distribution that images and labels of a batch are mixed by (timm's); 0: none.
        augment: ``"crop"``: one random crop a batch; ``"affine"``: each image turned, scaled, stretched, shifted and
            tinted by draws of its own.
        still_norms: Leave the statistics of batch norms as they came.
        balanced: Draw as many images of each class where classes are skewed: one has four times the images of another.
        flip: Mirror half of the batches; wrong for letters, digits and arrows.
        patience: Epochs without a better validation accuracy after which training stops; None: never.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        head_only: Train the classifier alone, everything else frozen.
        precision: Of forward passes and gradients in training: ``"auto"``: bfloat16 on a GPU that has it, else float16
            with scaled gradients, float32 on the CPU; or one of these by name.
        compile: Train what ``torch.compile`` makes of the network, which takes a minute or more to make.
    """

    epochs: int = 20
    seconds: float | None = None
    optimizer: Optimizer = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    batch_size: int = 32
    warmup: float = 0.1
    label_smoothing: float = 0.1
    layer_decay: float = 1.0
    ema: float = 0.0
    mixup: float = 0.0
    augment: Augment = "crop"
    still_norms: bool = False
    balanced: bool = True
    flip: bool = False
    patience: int | None = None
    device: str = "auto"
    head_only: bool = False
    precision: Precision = "auto"
    compile: bool = False


def named_recipe(name: str, registry: Registry | None = None) -> Recipe:
    """Return the recipe that is registered under a name, see :mod:`nns.finetuning.recipes`.

    Args:
        name: ``"default"``, ``"tans"``, or what a plugin brings.
        registry: Plugins in place of the installed ones.

    Raises:
        UnknownNameError: If there is none.
        PluginError: If a plugin registered something else.
    """
    from nns.plugins import installed_plugins

    recipe = (registry or installed_plugins()).make("recipe", name)
    if not isinstance(recipe, Recipe):
        raise PluginError(f"recipe {name!r} is a {type(recipe).__name__}, not a nns.finetuning.Recipe")
    return recipe
