"""The card of a fine-tuned network: what it is, where it comes from, how good it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nns.data.rendering import Rendering
from nns.documents import Count, convert
from nns.finetuning._climber import LadderResult, Tried
from nns.finetuning.calibration import MOST, Calibration
from nns.finetuning.epochs import Epoch
from nns.finetuning.recipe import Recipe
from nns.jsonable import jsonable
from nns.networks.origins import origin_of
from nns.plugins import installed_plugins
from nns.types import MAX_CHANNEL, MAX_SIDE, ArchitectureSpec, Json, NetworkCost, NetworkEntry, Preprocessing

FORMAT = "nns-finetuned"
VERSION = 1

MEASURES = frozenset({"train_loss", "val_loss", "val_accuracy"})
"""What is NaN where it was not measured, and null in a card."""

MAX_UNREADABLE = 10_000
"""Images that could not be read that a card names."""


@dataclass(frozen=True)
class Card:
    """Everything about a fine-tuned network but its weights.

    Attributes:
        network: Id of the zoo's network that it started from.
        spec: The architecture.
        preprocessing: Its input.
        classes: Class names, in the order of the outputs.
        params: Parameters, head included.
        macs: Multiply-accumulates of one image, head included.
        bytes: Bytes of the fp32 weights, head included.
        source_dataset: What the zoo's network was trained on.
        license: SPDX name of the licence of the weights it started from.
        zoo_digest: Content digest of the zoo, empty if there was none.
        dataset: Name of the dataset it was fine-tuned on.
        dataset_digest: Content digest of that dataset.
        val_accuracy: Top-1 accuracy on the validation split, by which it was chosen, 0..1; NaN if unknown.
        test_accuracy: Top-1 accuracy on the test split, 0..1; None without one.
        epochs: Epochs of its last training, as ``--epochs`` counts; ``tried`` has those before.
        seconds: Wall-clock time of the whole fine-tuning.
        device: Where that ran.
        recipe: How it was trained.
        seed: Of shuffling and augmentation.
        interrupted: Whether Ctrl-C ended it.
        taught_by: Network, architecture and validation accuracy of the one that taught it; None: none did.
        threads: Threads that it ran with on the CPU: with as many, the same command gives the same weights; 0: unknown.
        history: Its epochs.
        tried: All candidates, the winner first.
        versions: Versions of nns and torch.
        weights_sha256: Of the file of weights; set as it is written.
        rendering: How deep and transparent images of the dataset became 8 bits of RGB, and so must those that it is
            given; None if there were none.
        macro_f1: Mean F1 of the classes on the test split, each class counted alike, 0..1; None without one.
        backend_from: Distribution and version that the backend came from, as ``acme==0.2``; empty if unknown.
        calibration: By what logits are divided, so that probabilities are honest; None in older cards.
        unreadable: Beginnings of the digests of the images that could not be read, so that the splits can be made again
            without decoding all; None if that is not known.
        exports: Hex sha256 of the ONNX files that were exported of it: no other is run.
    """

    network: str
    spec: ArchitectureSpec
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    params: Count
    macs: Count
    bytes: Count
    source_dataset: str
    license: str
    zoo_digest: str
    dataset: str
    dataset_digest: str
    val_accuracy: float
    test_accuracy: float | None
    epochs: Count
    seconds: float
    device: str
    recipe: Json
    seed: int
    interrupted: bool
    history: tuple[Epoch, ...]
    tried: tuple[Tried, ...]
    versions: Json = field(default_factory=dict)
    weights_sha256: str = ""
    rendering: Rendering | None = None
    macro_f1: float | None = None
    calibration: Calibration | None = None
    unreadable: tuple[str, ...] | None = None
    threads: Count = 0
    backend_from: str = ""
    exports: tuple[str, ...] = ()
    taught_by: Json | None = None

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax."""
        return self.calibration.temperature if self.calibration else 1.0


def make_card(
    result: LadderResult,
    entry: NetworkEntry,
    *,
    classes: tuple[str, ...],
    dataset: str,
    dataset_digest: str,
    zoo_digest: str,
    recipe: Recipe,
    seed: int = 0,
    cost: NetworkCost | None = None,
    rendering: Rendering | None = None,
    unreadable: tuple[str, ...] | None = None,
) -> Card:
    """Write the card of a ladder's winner.

    Args:
        result: The ladder's.
        entry: The winner's entry in the zoo.
        classes: Classes of the dataset.
        dataset: Name of the dataset.
        dataset_digest: Its content digest.
        zoo_digest: The zoo's.
        recipe: The recipe given to the ladder.
        seed: The seed given to the ladder.
        cost: The network's counts at the input it was fine-tuned at, by default the entry's.
        rendering: How the dataset's images were rendered, if that mattered.
        unreadable: Which of them could not be read, see :class:`Card`.
    """
    cost = cost or entry.cost
    return Card(
        network=entry.id,
        spec=entry.spec,
        preprocessing=result.winner.preprocessing,
        classes=tuple(classes),
        params=cost.params(len(classes)),
        macs=cost.macs(len(classes)),
        bytes=cost.bytes(len(classes)),
        source_dataset=entry.source_dataset,
        license=entry.license,
        zoo_digest=zoo_digest,
        dataset=dataset,
        dataset_digest=dataset_digest,
        val_accuracy=result.val_accuracy,
        test_accuracy=result.test_accuracy,
        epochs=result.epochs,
        seconds=round(result.seconds, 3),
        device=result.device,
        recipe=asdict(recipe),
        seed=seed,
        interrupted=result.interrupted,
        history=result.history,
        tried=result.tried,
        versions=_versions(),
        rendering=rendering,
        macro_f1=result.macro_f1,
        calibration=result.calibration,
        backend_from=installed_plugins().origin("backend", entry.spec.backend) or origin_of(entry),
        unreadable=None if unreadable is None or len(unreadable) > MAX_UNREADABLE else unreadable,
        threads=result.threads,
        taught_by=result.taught_by,
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("nns", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def card_json(card: Card) -> dict[str, Any]:
    """Turn a card into a JSON-able dict; what is not a number becomes null."""
    found: dict[str, Any] = jsonable(asdict(card))
    return {"format": FORMAT, "version": VERSION, **found}


def decode_card(row: Mapping[str, Any]) -> Card:
    """Build a card from parsed JSON.

    Raises:
        ValueError: If a field is missing, has the wrong type or an impossible value.
    """
    card = convert(_with_nan(row), Card)
    if not 1 <= card.preprocessing.size <= MAX_SIDE:
        raise ValueError(f"an input of {card.preprocessing.size} pixels")
    if not card.classes:
        raise ValueError("no classes")
    if not 1 / (2 * MOST) <= card.temperature <= 2 * MOST:
        raise ValueError(f"a temperature of {card.temperature}")
    channels = card.preprocessing
    if not all(-MAX_CHANNEL <= mean <= MAX_CHANNEL for mean in channels.mean):
        raise ValueError(f"a mean of {channels.mean}")
    if not all(1 / MAX_CHANNEL <= std <= MAX_CHANNEL for std in channels.std):
        raise ValueError(f"a deviation of {channels.std}")
    return card


def _with_nan(value: Any) -> Any:
    """Undo what :func:`card_json` did to measures that are not numbers."""
    if isinstance(value, Mapping):
        return {key: math.nan if item is None and key in MEASURES else _with_nan(item) for key, item in value.items()}
    return [_with_nan(item) for item in value] if isinstance(value, list) else value
