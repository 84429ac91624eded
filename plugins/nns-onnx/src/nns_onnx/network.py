"""A graph of ONNX as a network of PyTorch: frozen weights, and a head to be trained; imports torch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from nns.finetuning.onnx_checks import MOST_ELEMENTS
from nns_onnx.operations import MOST_NUMBERS, OF_NUMBERS, OPERATIONS, STILL, pads_of

MOST_WEIGHTS = 500_000_000
"""Numbers that the weights of a graph may have."""

ACTIVATIONS = {"Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "HardSwish": nn.Hardswish}
"""Operations that are layers of their own, as fingerprints count them."""


@dataclass(frozen=True)
class Step:
    """One operation: what it is, its settings, names of what it takes and gives, its layer if it is one."""

    operation: str
    settings: dict[str, Any]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    layer: str | None
    done: tuple[str, ...]


class Body(nn.Module):
    """The graph up to the features; it stays as it is in training.

    Args:
        model: The graph, checked; weights have shapes and no numbers.

    Attributes:
        sources: Name of each tensor of the state dict to the name of the weight in the file.
    """

    def __init__(self, model: Any) -> None:
        """Make layers with random weights.

        Raises:
            ValueError: If it does what is not known here.
        """
        super().__init__()
        from onnx import helper, numpy_helper

        self._input, self._output = model.graph.input[0].name, model.graph.output[0].name
        self.sources: dict[str, str] = {}
        self.layers, self.constants = nn.ModuleDict(), nn.ParameterDict()
        self._numbers: dict[str, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for tensor in model.graph.initializer:
            dims = tuple(tensor.dims)
            if any(side < 1 for side in dims) and tensor.data_type == 1:
                raise ValueError("it has weights of no numbers")
            if tensor.data_type == 1 and math.prod(dims) > 1:
                shapes[tensor.name] = dims
            else:
                self._numbers[tensor.name] = np.array(numpy_helper.to_array(tensor))
        if sum(map(math.prod, shapes.values())) > MOST_WEIGHTS:
            raise ValueError("its weights are too many")
        uses = [name for node in model.graph.node for name in node.input]
        last = {name: index for index, node in enumerate(model.graph.node) for name in node.input}
        self._steps: list[Step] = []
        for index, node in enumerate(model.graph.node):
            settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            takes = tuple(node.input)
            own = [name for name in takes[1:] if name in shapes]
            alone = len(own) == len(takes) - 1 and all(uses.count(name) == 1 for name in own)
            layer = _layer(node.op_type, settings, [shapes[name] for name in own]) if alone else None
            if layer is not None:
                self.layers[str(index)] = layer
                self.sources |= {f"layers.{index}.{ours}": name for ours, name in zip(_NAMES, own, strict=False)}
                takes = takes[:1]
            elif node.op_type not in {*OPERATIONS, *OF_NUMBERS}:
                raise ValueError(f"operation {node.op_type[:40]!r} is not known")
            done = tuple(name for name in takes if last[name] == index and name != self._output)
            key = None if layer is None else str(index)
            self._steps.append(Step(node.op_type, settings, takes, tuple(node.output), key, done))
        left = [name for name in shapes if name not in self.sources.values()]
        self._weights = {name: str(number) for number, name in enumerate(left)}
        for name, key in self._weights.items():
            self.constants[key] = nn.Parameter(torch.randn(shapes[name]) * 0.02)
            self.sources[f"constants.{key}"] = name
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Body:
        """Stay in eval mode: the statistics of batch norms stay as they are."""
        return super().train(False)

    def forward(self, images: torch.Tensor, most: int | None = None) -> torch.Tensor:
        """Compute the features, (n, width), of images, (n, 3, side, side).

        Args:
            images: The images.
            most: Numbers that a tensor may have; None: as many as there are.

        Raises:
            ValueError: If one has more.
        """
        known: dict[str, Any] = dict(self._numbers)
        known |= {name: self.constants[key] for name, key in self._weights.items()}
        known[self._input] = images
        for step in self._steps:
            given = [known[name] if name else None for name in step.takes]
            if step.layer is not None:
                made: Any = self.layers[step.layer](*given)
            elif step.operation in OF_NUMBERS and all(isinstance(each, np.ndarray) for each in given):
                if sum(each.size for each in given) > MOST_NUMBERS:
                    raise ValueError(
                        f"{step.operation} of {sum(each.size for each in given)} numbers, which are no shape"
                    )
                made = np.asarray(OF_NUMBERS[step.operation](step.settings, *given))
            else:
                last = 1 if step.operation in STILL else len(given)
                moved = [_beside(each, images) if at < last else each for at, each in enumerate(given)]
                made = OPERATIONS[step.operation](step.settings, *moved)
            for name, value in zip(step.gives, made if isinstance(made, tuple) else (made,), strict=False):
                known[name] = value
                if most is not None and math.prod(value.shape) > most:
                    raise ValueError(f"{name[:40]!r} would have {tuple(value.shape)} numbers")
            for name in step.done:
                known.pop(name, None)
        found: torch.Tensor = known[self._output]
        return found.flatten(2).mean(2) if found.dim() > 2 else found


_NAMES = ("weight", "bias", "running_mean", "running_var")


def _beside(value: Any, images: torch.Tensor) -> Any:
    """Make a tensor of numbers, where the images are."""
    return torch.from_numpy(value).to(images.device) if isinstance(value, np.ndarray) else value


def rehearse(model: Any, side: int) -> int:
    """Run a graph without memory, and return the width of its features.

    Raises:
        ValueError: If a tensor becomes large, or it does what is not known here.
        Exception: Whatever PyTorch raises where operations do not fit.
    """
    with torch.device("meta"), torch.no_grad():
        features = Body(model)(torch.zeros(1, 3, side, side), MOST_ELEMENTS)
    if features.dim() != 2 or features.shape[0] != 1 or not features.is_floating_point():
        raise ValueError(f"its features are of shape {tuple(features.shape)}, not (1, width)")
    return int(features.shape[1])


class _Padded(nn.Conv2d):
    """A convolution with other pads at the beginning than at the end."""

    pads: tuple[int, ...] = ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(images, self.pads))


def _layer(operation: str, settings: Mapping[str, Any], shapes: list[tuple[int, ...]]) -> nn.Module | None:
    """Return the layer of PyTorch that an operation with these weights is; None if there is none."""
    if operation in ACTIVATIONS and not shapes:
        return ACTIVATIONS[operation]()
    if operation == "BatchNormalization" and len(shapes) == 4 and not settings.get("training_mode"):
        layer = nn.BatchNorm2d(shapes[0][0], eps=settings.get("epsilon", 1e-5))
        layer.num_batches_tracked = None
        return layer
    if operation != "Conv" or not shapes or len(shapes[0]) != 4:
        return None
    (out, each, *kernel), groups = shapes[0], settings.get("group", 1)
    if not 0 < groups <= out or out % groups or shapes[1:] not in ([], [(out,)]):
        raise ValueError("a convolution has groups that do not fit")
    stride, dilation = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
    if settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return None  # pads that depend on the size of the image
    top, left, bottom, right = pads_of(settings)
    same = (top, left) == (bottom, right)
    kind = nn.Conv2d if same else _Padded
    conv = kind(
        each * groups, out, tuple(kernel), tuple(stride), (top, left) if same else 0, tuple(dilation), groups,
        bias=len(shapes) > 1,
    )  # fmt: skip
    if isinstance(conv, _Padded):
        conv.pads = (left, right, top, bottom)
    return conv


class OnnxNetwork(nn.Module):
    """A body that is frozen, and a linear head."""

    def __init__(self, body: Body, width: int, classes: int) -> None:
        """Make a fresh head."""
        super().__init__()
        self.body = body
        self.head = linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits, (n, classes)."""
        logits: torch.Tensor = self.head(self.body(images))
        return logits


def linear(width: int, classes: int) -> nn.Linear:
    """Make a linear layer, also one of no classes, of which torch warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return nn.Linear(width, classes)
