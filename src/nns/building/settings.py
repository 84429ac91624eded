"""What a zoo is built from: datasets, backends, how many networks, at which size, and how they are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nns.errors import UnknownNameError, UsageError

WEIGHTS = ("fp32", "fp16")
"""Precisions in which weights are kept."""

STRATEGIES = ("pareto", "random", "all")
"""Ways to choose which pairs of dataset and architecture are trained."""

OBJECTIVES = ("params", "macs", "latency")
"""Costs against which the accuracy of networks can be weighed."""

IMAGE_SIZES = 16, 512
"""Smallest and largest side of the images, in pixels."""

TRANSFERS = 60
"""Transfers at least, where the settings do not say: with so many, searches of zoos of 48 networks were much better."""

ROUND = 8
"""Pairs chosen at once, at least, where the settings do not say."""


@dataclass(frozen=True)
class SearchSpace:
    """The architectures of one backend that compete, and how they are trained.

    Attributes:
        architectures: Names or globs; empty: the backend's own choice.
        candidates: Architectures at most; None: as many as a build usually takes.
        image_size: Side of the images, in place of that of the build.
        epochs: Epochs of every training, in place of those of the build.
    """

    architectures: tuple[str, ...] = ()
    candidates: int | None = None
    image_size: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: If one is out of range.
        """
        _at_least(1, candidates=self.candidates, epochs=self.epochs)
        _check_image_size(self.image_size)


@dataclass(frozen=True)
class BuildSettings:
    """Settings of ``nns zoo build``.

    Attributes:
        data: Datasets, as on the command line (folders, tables, ``torchvision:NAME``).
        backends: Backends, as ``NAME`` or ``NAME:ARCHITECTURE`` (a glob of architectures).
        networks: Networks in all, at most; pretrained ones not counted.
        image_size: Side of the square images at most; a backend may train on smaller ones.
        max_images: Training images of one dataset at most, drawn by class; None: all.
        pretrained: Whether networks that come trained (ImageNet) enter the zoo as they are.
        epochs: Epochs of every training, in place of each backend's own choice; None keeps that.
        weights: ``fp32`` keeps trained weights as they are, ``fp16`` rounded to half the bytes.
        seed: Of splits, architectures, weights and batches.
        strategy: How pairs of dataset and architecture are chosen: ``pareto`` by what they are expected to add to
            the curve of accuracy against costs, ``random``, or ``all`` of them, whatever ``networks`` says.
        objectives: The costs that ``pareto`` weighs, of :data:`OBJECTIVES`.
        round: Pairs chosen at once from the same knowledge; None: see :meth:`pairs_a_round`.
        transfers: Further fine-tunings of networks of the zoo on other datasets of the zoo; None: see
            :meth:`transfers_of`.
        transfer_epochs: Epochs of each of those.
        halving: Whether networks that fall behind are stopped early.
        spaces: Name of a backend to what of it competes. What is said of a backend that is not named in
            ``backends`` has no effect.
    """

    data: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("ofa", "timm")
    networks: int = 400
    image_size: int = 64
    max_images: int | None = 300
    pretrained: bool = True
    epochs: int | None = None
    weights: str = "fp32"
    seed: int = 0
    strategy: str = "pareto"
    objectives: tuple[str, ...] = ("params",)
    round: int | None = None
    transfers: int | None = None
    transfer_epochs: int = 3
    halving: bool = True
    spaces: Mapping[str, SearchSpace] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Check numbers and names.

        Raises:
            UsageError: If a number is out of range or an objective is named twice.
            UnknownNameError: If there is no such strategy, objective or precision.
        """
        _at_least(1, networks=self.networks, epochs=self.epochs, round=self.round, transfer_epochs=self.transfer_epochs)
        _at_least(0, transfers=self.transfers)
        _at_least(2, max_images=self.max_images)
        _check_image_size(self.image_size)
        if self.weights not in WEIGHTS:
            raise UnknownNameError.among("precision of weights", self.weights, WEIGHTS)
        if self.strategy not in STRATEGIES:
            raise UnknownNameError.among("strategy", self.strategy, STRATEGIES)
        if not self.objectives:
            raise UsageError(f"objectives must name at least one of {', '.join(OBJECTIVES)}")
        for turn, objective in enumerate(self.objectives):
            if objective not in OBJECTIVES:
                raise UnknownNameError.among("objective", objective, OBJECTIVES)
            if objective in self.objectives[:turn]:
                raise UsageError(f"objectives name {objective!r} twice")

    def transfers_of(self, trained: int, pretrained: int, datasets: int) -> int:
        """Return how many transfers are made: ``transfers``, else one for every network and at least 60.

        There are no more than pairs of network and foreign dataset, and with one dataset alone none that are not asked
        for.

        Args:
            trained: Networks that were trained on one of the datasets.
            pretrained: Networks that came trained; every dataset is foreign to them.
            datasets: Datasets.
        """
        pairs = trained * max(0, datasets - 1) + pretrained * datasets
        if self.transfers is not None:
            return min(self.transfers, pairs)
        return min(max(TRANSFERS, trained + pretrained), pairs) if datasets > 1 else 0

    def pairs_a_round(self, datasets: int) -> int:
        """Return how many pairs are chosen at once: ``round``, else one for every four datasets and at least 8.

        Smaller rounds choose from more knowledge, but keep fewer workers busy: two rounds run at a time.
        """
        return max(ROUND, datasets // 4) if self.round is None else self.round


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise UsageError(f"{name.replace('_', ' ')} must be at least {least}, not {value}")


def _check_image_size(size: int | None) -> None:
    smallest, largest = IMAGE_SIZES
    if size is not None and not smallest <= size <= largest:
        raise UsageError(f"image size must be {smallest} to {largest} pixels, not {size}")
