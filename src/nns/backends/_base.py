"""The contract of a backend: where networks come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nns.backends.loading import load_weights
from nns.places import RemoteWeights
from nns.types import ArchitectureSpec, Json, PartProgress, Preprocessing, SplitArrays, Training

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn


@dataclass(frozen=True)
class WorkItem:
    """One unit of zoo building: what to train on one dataset, yielding one network or more.

    Attributes:
        backend: Name of the backend that trains it.
        specs: Architectures that come out, in order.
        image_size: Side of the square images it trains on.
        training: How it is trained.
        seconds: Rough expected cost on one core for 300 training images, for progress and ordering.
        supernet: The supernet that all of them are cut from, as the architecture of its largest subnet; None if
            each is trained on its own.
    """

    backend: str
    specs: tuple[ArchitectureSpec, ...]
    image_size: int
    training: Training = field(default_factory=Training)
    seconds: float = 10.0
    supernet: ArchitectureSpec | None = None


@dataclass(frozen=True)
class ProducedNetwork:
    """A trained network as a backend hands it to the builder.

    Attributes:
        spec: The architecture.
        module: The network in eval mode on the CPU.
        accuracy: Top-1 accuracy on the validation split, 0..1.
        provenance: Recipe, epochs, seconds: JSON-able.
    """

    spec: ArchitectureSpec
    module: nn.Module
    accuracy: float
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class PretrainedOffer:
    """A network whose weights come trained, so that it enters a zoo without any work.

    Attributes:
        spec: The architecture, with its source of weights.
        classes: Class names of its own head, in the order of its logits; empty if it comes without a head.
        dataset: Name of the dataset it was trained on, as ``"imagenet-1k"``.
        accuracy: Published top-1 accuracy there, 0..1; NaN if unknown.
        weights: Where they are to be fetched from; None if they are at hand, for :meth:`Backend.load_pretrained`.
    """

    spec: ArchitectureSpec
    classes: tuple[str, ...]
    dataset: str
    accuracy: float
    weights: RemoteWeights | None = None


@dataclass(frozen=True)
class Published:
    """A network of a hub, as the ``config.json`` of its repository describes it.

    Attributes:
        spec: The architecture.
        preprocessing: Its input.
        classes: Class names of its own head, empty if it has none.
        dataset: Name of the dataset it was trained on, empty if that is not said.
        license: SPDX name of the licence of the weights, empty if that is not said.
    """

    spec: ArchitectureSpec
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    dataset: str
    license: str


class Trainer(Protocol):
    """Trains a network as :func:`nns.finetuning.train` does; a build hands one to a backend."""

    def __call__(
        self, module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, training: Training, seed: int
    ) -> tuple[nn.Module, float]:
        """Return the network at its best epoch, and its accuracy on the validation split, 0..1."""


class Backend(ABC):
    """A family of architectures: what it offers, how to build, load, and put on a new head.

    The built-in backends implement this class as an outsider would. Nothing heavy (torch, timm, ofa) may
    be imported when the module of a backend is imported; import inside the methods. A backend must pass
    :class:`nns.testing.BackendContract`.

    Attributes:
        name: The name under which it is registered and listed.
    """

    name: str

    @abstractmethod
    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List architectures (or for a huge space: representative ones) whose name matches a glob.

        Raises:
            UnknownNameError: If nothing matches.
        """

    @abstractmethod
    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Propose work that yields ``networks`` trained networks on one dataset.

        The same arguments give the same plan. ``seed`` differs from dataset to dataset, so that a zoo
        over many datasets covers many architectures.
        """

    def pretrained(self) -> Sequence[PretrainedOffer]:
        """List networks whose weights come trained; by default none.

        Those at hand enter a zoo that is built. ``nns zoo add --offered`` adds others, too, and refers to the place
        that an offer names: what is fetched from there is read by :meth:`read_weights`.
        """
        return ()

    def load_pretrained(self, offer: PretrainedOffer) -> nn.Module:
        """Build a network of :meth:`pretrained` whose weights are at hand, with these and its own head.

        Raises:
            WeightsError: If the weights cannot be had.
        """
        raise NotImplementedError(f"backend {self.name!r} lists no pretrained networks")

    @abstractmethod
    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build a network with a head for ``classes`` classes and the weights that ``spec.source`` names.

        ``"random"`` weights depend on ``seed`` alone.

        Raises:
            UsageError: If the configuration is not one of this backend.
            WeightsError: If pretrained weights cannot be had.
        """

    @abstractmethod
    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put a fresh head for ``classes`` classes on the network, in place, and return it.

        The head is the last linear layer, or what :func:`nns.backends.name_head` says.
        """

    @abstractmethod
    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Compute the features before the classifier.

        Args:
            module: A network of this backend.
            images: (n, 3, size, size) float32, normalised.

        Returns:
            (n, feature_dim) float32.
        """

    @abstractmethod
    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return the input of an architecture, at ``image_size`` if given; of one that comes trained with its mean."""

    @abstractmethod
    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Return the backend's own topology vector, of one length for the whole backend; may be empty."""

    @abstractmethod
    def license(self, spec: ArchitectureSpec) -> str:
        """Return the SPDX name of the licence of the weights."""

    def load(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Build a network and give it trained weights; pretrained weights are never fetched for this.

        Raises:
            UsageError: If the configuration is not one of this backend.
            WeightsError: If names or shapes do not fit the architecture.
        """
        from dataclasses import replace

        return load_weights(lambda: self.build(replace(spec, source="random"), classes), spec, state)

    def packaged_file(self, spec: ArchitectureSpec) -> tuple[str, str] | None:
        """Name the installed package with an architecture's pretrained weights, and the file below it; None: nowhere.

        The package is named as it is imported, and the path has slashes.
        """
        return None

    def read_weights(self, spec: ArchitectureSpec, path: Path) -> Mapping[str, torch.Tensor]:
        """Read weights of an architecture from a file, under the names that :meth:`load` wants.

        Raises:
            WeightsError: If the file holds no weights of it.
        """
        from nns.backends.checkpoint import read_state
        from nns.errors import UsageError, WeightsError

        try:
            return read_state(path)
        except UsageError as error:
            raise WeightsError(str(error)) from error

    def read_config(self, config: Json) -> Published | None:
        """Read the ``config.json`` of a hub's repository, which may hold anything; None if it is not of this backend.

        Raises:
            UsageError: If it is of this backend, but of a network that cannot be built from its name.
        """
        return None

    def weights_host(self, name: str) -> str:
        """Name the host, or whoever else is asked for weights that only this backend can fetch, before it is asked.

        Args:
            name: What a zoo calls them; a zoo may come from a stranger.

        Raises:
            WeightsError: If there are none of that name.
        """
        from nns.errors import WeightsError

        raise WeightsError(f"backend {self.name!r} has no weights {name!r} to be fetched")

    def fetch_weights(self, name: str, target: Path, progress: PartProgress | None = None) -> None:
        """Write weights that only this backend can fetch to a file, over what is there of them from an interruption.

        Called only when somebody has asked for the network and connecting is allowed. Size and digest are checked
        afterwards, and where nobody knows the digest yet, it is kept and required from then on.

        Args:
            name: What a zoo calls them: :class:`nns.places.BackendWeights`.
            target: The file; it has the suffix of a partial one, and is read by :meth:`read_weights` under ``name``.
            progress: Called with bytes that are here and bytes in all.

        Raises:
            WeightsError: If there are none of that name, or they cannot be had.
        """
        from nns.errors import WeightsError

        raise WeightsError(f"backend {self.name!r} has no weights {name!r} to be fetched")

    def produce(self, item: WorkItem, data: SplitArrays, trainer: Trainer, seed: int) -> Iterator[ProducedNetwork]:
        """Do the work of one item on one dataset: build, train with ``trainer``, hand over; or cut from a supernet."""
        import time

        if item.supernet is not None:
            yield from self.cut(item, self.train_supernet(item, data, seed).module, data)
            return
        for spec in item.specs:
            started = time.perf_counter()
            module = self.build(spec, len(data.classes), seed)
            preprocessing = self.preprocessing(spec, item.image_size)
            module, accuracy = trainer(module, data, preprocessing, item.training, seed)
            seconds = round(time.perf_counter() - started, 2)
            provenance = {**item.training.to_json(), "seconds": seconds, "seed": seed}
            yield ProducedNetwork(spec, module.eval(), accuracy, provenance)

    def supernet_of(self, spec: ArchitectureSpec) -> ArchitectureSpec | None:
        """Name the supernet that an architecture is cut from, by its largest subnet; None if it is trained alone."""
        return None

    def train_supernet(self, item: WorkItem, data: SplitArrays, seed: int, *, device: str = "cpu") -> ProducedNetwork:
        """Train the supernet of an item; its accuracy is that of its largest subnet, NaN if that is not measured.

        A build keeps it in the zoo, and later subnets of it are cut by :meth:`cut` from what was kept.

        Args:
            item: The work; it has a supernet.
            data: The dataset, on the CPU.
            seed: Of weights, order and augmentation; on the CPU the same seed gives the same weights.
            device: Where to train, ``"cpu"`` or ``"cuda"``. A build leaves the keyword out for ``"cpu"``, and where a
                backend that was written for an older nns lacks it: that trains on the CPU.

        Returns:
            The supernet, on the CPU wherever it was trained.
        """
        raise NotImplementedError(f"backend {self.name!r} has no supernets")

    def load_supernet(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Build a supernet, given the architecture of its largest subnet, and give it trained weights.

        Raises:
            WeightsError: If names or shapes do not fit the architecture.
        """
        raise NotImplementedError(f"backend {self.name!r} has no supernets")

    def cut(self, item: WorkItem, supernet: nn.Module, data: SplitArrays) -> Iterator[ProducedNetwork]:
        """Cut the networks of an item out of its trained supernet, and measure each.

        What comes out depends on the weights of the supernet alone, not on what was cut from it before.
        """
        raise NotImplementedError(f"backend {self.name!r} has no supernets")


_SPDX = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0")


def spdx(stated: str) -> str:
    """Write a licence as SPDX does, if it is a known one in other letters."""
    return {name.casefold(): name for name in _SPDX}.get(stated.casefold(), stated)
