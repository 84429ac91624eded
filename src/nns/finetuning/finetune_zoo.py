"""Fine-tuning networks of a zoo on a dataset, and handing over the best."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.data import Dataset, Skipped
from nns.files import real_path
from nns.finetuning import (
    Card,
    Entrant,
    LadderEvent,
    LadderResult,
    Recipe,
    check_target,
    climb,
    make_card,
    resolve_device,
    write_handover,
)
from nns.finetuning.checkpoint import Checkpoint, Choice
from nns.finetuning.distributed import world
from nns.finetuning.sizing import epochs_within, input_size
from nns.finetuning.teaching import TEACHER_SHARE, Unlabelled, fine_tune_teacher
from nns.networks import Network, count_cost
from nns.quantities import counted, format_count, format_seconds
from nns.tables import Table, finite
from nns.types import NetworkCost, NetworkEntry, Preprocessing, SplitArrays

if TYPE_CHECKING:
    from torch import nn

    from nns.data.seen import Seen
    from nns.searching import Candidate
    from nns.zoo import Zoo


HANDOVER_SECONDS = 0.5
"""Of a budget, for writing what is handed over and leaving."""
PROBED_BEFORE_TRAINING = 5
"""Best of those on this disk that a fine-tuning looks at before it chooses; more choose no better (docs/results.md)."""
LEAST_SECONDS = 0.1
"""Of training, however late it is."""


@dataclass(frozen=True, repr=False)
class FinetuneReport:
    """What a fine-tuning came to.

    Attributes:
        card: Everything about the network that was handed over.
        result: The ladder's result.
        output: The folder that holds it.
        skipped: Images that could not be read.
        left_out: Networks that the search would rather have tried, but that are not on this disk, where nothing might
            be fetched.
        seen: What is in the dataset.
        kept: What became of it in the user's history: the id there, ``"off"``, or why it could not be kept.
        first: Whether this is the process that wrote it; of several that trained together, one is.
    """

    card: Card
    result: LadderResult
    output: Path
    skipped: tuple[Skipped, ...]
    left_out: tuple[Candidate, ...] = ()
    seen: Seen | None = None
    kept: str = "off"
    first: bool = True

    def __repr__(self) -> str:
        """Return what came out, in one line."""
        card = self.card
        return f"<FinetuneReport: {card.spec.name}, validation accuracy {card.val_accuracy:.1%}, in {self.output}>"

    def _repr_html_(self) -> str:
        return self.table().html()

    @property
    def only_class(self) -> str | None:
        """What the network says of every validation image, if that is one class: it has learned nothing yet."""
        return None if self.result.only_class is None else self.card.classes[self.result.only_class]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of ``nns finetune``."""
        card = self.card
        return {
            "network": card.network,
            "backend": card.spec.backend,
            "architecture": card.spec.name,
            "params": card.params,
            "macs": card.macs,
            "bytes": card.bytes,
            "image_size": card.preprocessing.size,
            "val_accuracy": finite(card.val_accuracy),
            "test_accuracy": None if card.test_accuracy is None else finite(card.test_accuracy),
            "macro_f1": None if card.macro_f1 is None else finite(card.macro_f1),
            "epochs": card.epochs,
            "only_class": self.only_class,
            "calibration": None if card.calibration is None else asdict(card.calibration),
            "seconds": round(self.result.seconds, 3),
            "device": card.device,
            "threads": card.threads,
            "output": str(self.output),
            "interrupted": self.result.interrupted,
            "taught_by": None if card.taught_by is None else dict(card.taught_by),
            "dataset": None if self.seen is None else self._dataset(self.seen),
            "skipped": [{"path": item.path, "reason": item.reason} for item in self.skipped],
            "left_out": [candidate.to_dict() for candidate in self.left_out],
            "history": [
                {
                    "epoch": e.epoch,
                    "train_loss": finite(e.train_loss),
                    "val_loss": finite(e.val_loss),
                    "val_accuracy": finite(e.val_accuracy),
                    "val_macro_f1": e.val_macro_f1,
                }
                for e in card.history
            ],
            "tried": [
                {"network": t.network, "val_accuracy": finite(t.val_accuracy), "epochs": t.epochs, "stopped": t.stopped}
                | {"rungs": t.rungs}
                for t in card.tried
            ],
        }

    def _dataset(self, seen: Seen) -> dict[str, Any]:
        return {"path": seen.path, "images": seen.images, "digest": self.card.dataset_digest, **seen.to_dict()}

    def table(self) -> Table:
        """Return what was tried and what came out as a table."""
        card = self.card
        rows = [[tried.network, _percent(tried.val_accuracy), tried.trained(), tried.stopped] for tried in card.tried]
        test = "no test split" if card.test_accuracy is None else f"test accuracy {card.test_accuracy:.1%}"
        test += "" if card.macro_f1 is None else f", macro F1 {card.macro_f1:.1%}"
        said = ""
        if self.only_class is not None:
            said = f"\nIt says {self.only_class!r} of every validation image: it has learned nothing yet. Train longer."
        return Table(
            f"{card.spec.name}, {format_count(card.params)} parameters: "
            f"validation accuracy {card.val_accuracy:.1%}, {test}",
            [("tried", "left"), ("validation accuracy", "right"), ("epochs", "right"), ("ended", "left")],
            rows,
            f"{format_seconds(self.result.seconds)} on {card.device}{_with_threads(card)}.{said}",
            ("epochs", "ended"),
        )


def _with_threads(card: Card) -> str:
    return f" with {counted(card.threads, 'thread')}" if card.threads and card.device == "cpu" else ""


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def entrant_of(
    network: Network,
    classes: int,
    *,
    seed: int = 0,
    image_size: int | None = None,
    random_weights: bool = False,
    expected: float | None = None,
) -> Entrant:
    """Make a zoo's network an entrant of a ladder, with a fresh head.

    Args:
        network: The network.
        classes: Classes of the new head.
        seed: Of the head's weights.
        image_size: Side of its input, in place of its own.
        random_weights: Start from random weights instead of the stored ones, for comparison.
        expected: The accuracy that is expected of it, 0..1.
    """
    entry, preprocessing = network.entry, network.entry.preprocessing
    if image_size is not None:
        preprocessing = replace(
            network.backend.preprocessing(entry.spec, image_size), mean=preprocessing.mean, std=preprocessing.std
        )

    def build() -> nn.Module:
        if random_weights:
            return network.backend.build(replace(entry.spec, source="random"), classes, seed)
        return network.load(classes, seed)

    return Entrant(entry.id, entry.spec.name, build, preprocessing, expected)


def finetune(
    data: Any,
    zoo: Zoo,
    network_ids: Sequence[str],
    output: str | os.PathLike[str],
    recipe: Recipe,
    *,
    image_size: int | None = None,
    own_size: bool = False,
    seed: int = 0,
    on_event: Callable[[LadderEvent, int], None] | None = None,
    on_decode: Callable[[int, int], None] | None = None,
    since: float | None = None,
    expected: Mapping[str, float] | None = None,
    teacher: str | None = None,
    unlabelled: Any = None,
    question: Mapping[str, Any] | None = None,
) -> FinetuneReport:
    """Fine-tune networks of a zoo on a dataset and write the best to a folder.

    Several networks climb a ladder: all get a short training, the better half by validation accuracy a
    longer one, and so on. The test split is touched once, at the end. Ctrl-C keeps the best so far.

    Args:
        data: What :meth:`nns.data.Dataset.of` takes, labelled.
        zoo: The zoo.
        network_ids: Networks to try, best guess first; unique beginnings of ids will do.
        output: Folder to write.
        recipe: How to train; ``seconds`` is the budget of everything.
        image_size: Side of the input; None: chosen for each network by :mod:`nns.finetuning.sizing`.
        own_size: Whether each network keeps the input at which the zoo says what it costs.
        seed: Of splits, heads, shuffling and augmentation.
        on_event: ``on_event(event, images)`` as the ladder goes on; ``images`` is the size of the training split.
        on_decode: ``on_decode(done, total)`` while images are read.
        since: When the budget began to run, as :func:`time.perf_counter` has it; None: now.
        expected: Accuracies that a search expects, by id: what validation says is weighed against them.
        teacher: A network that is fine-tuned first and teaches them, see :mod:`nns.finetuning.teaching`.
        unlabelled: Images without labels that it teaches, too, in any form of :meth:`nns.data.Dataset.of`.
        question: What was asked where a search chose the networks; see :meth:`Checkpoint.chosen_for`.

    Raises:
        DatasetError: If the dataset cannot be trained on.
        UnknownNameError: If there is no such network.
        UsageError: If the folder is taken, or the recipe makes no sense.
    """
    began = time.perf_counter() if since is None else since
    check_target(output)
    dataset = Dataset.of(data, registry=zoo.registry)
    networks = [zoo.network(beginning) for beginning in dict.fromkeys(network_ids)]
    classes = len(dataset.classes)
    images = 0

    def data_of(preprocessing: Preprocessing) -> SplitArrays:
        nonlocal images
        splits, _ = dataset.splits_at(preprocessing.size, seed=seed, progress=on_decode)
        dataset.tell_odd_pixels()
        images = len(splits.train)
        return splits

    tell = (lambda event: on_event(event, images)) if on_event else None
    place = real_path(Path(output).expanduser())
    settings = {
        "data": dataset.digest,
        "networks": [network.id for network in networks],
        "recipe": asdict(recipe),
        "image_size": image_size,
        "seed": seed,
        "versions": versions(),
    }
    extra = None if unlabelled is None else Unlabelled(unlabelled, seed, zoo.registry)
    taught_by = None if teacher is None else zoo.network(teacher)
    if taught_by is not None:
        settings |= {"teacher": taught_by.id, "unlabelled": "" if extra is None else extra.digest}
    choice = None
    if question is not None:
        choice = Checkpoint.choice_of(
            question, Choice([network.id for network in networks], dict(expected or {}), teacher)
        )
    checkpoint, checkpoint_of_teacher = (Checkpoint(file, settings, choice) for file in Checkpoint.files(place))
    left = None
    if recipe.seconds is not None:
        # what a search took is gone; a network is handed over even if nothing is left
        left = max(LEAST_SECONDS, recipe.seconds - HANDOVER_SECONDS - (time.perf_counter() - began))

    def entrants_of(some: Sequence[Network], within: float | None, saved: Mapping[str, Any] | None) -> list[Entrant]:
        sizes = dict.fromkeys([network.id for network in some], image_size)
        if saved:
            sizes = saved["sizes"]
        elif image_size is None and not own_size:
            sizes = world().from_first(lambda: input_sizes(some, dataset, recipe, within, seed))
        return [
            entrant_of(
                network, classes, seed=seed, image_size=sizes[network.id], expected=(expected or {}).get(network.id)
            )
            for network in some
        ]

    who = None
    if taught_by is not None:
        within = left and left * TEACHER_SHARE
        (first,) = entrants_of([taught_by], within, checkpoint_of_teacher.read())
        who = fine_tune_teacher(
            first, data_of, recipe,
            seconds=within, seed=seed, on_event=tell, checkpoint=checkpoint_of_teacher, unlabelled=extra,
        )  # fmt: skip
        left = left and max(LEAST_SECONDS, left - who.seconds)
    result = climb(
        entrants_of(networks, left, checkpoint.read()), data_of, recipe,
        budget_seconds=left, seed=seed, on_event=tell, checkpoint=checkpoint, teacher=who,
    )  # fmt: skip
    if who is not None:
        result = replace(result, seconds=result.seconds + who.seconds, taught_by=who.described)
    winner = next(network for network in networks if network.id == result.winner.id)
    cost = count_cost(winner.backend, result.module, result.winner.preprocessing, classes)
    card, folder = hand_over(output, zoo, result, winner.entry, dataset, recipe, seed=seed, cost=cost)
    if not result.interrupted and world().first:  # after Ctrl-C the same command goes on
        checkpoint.remove()
        checkpoint_of_teacher.remove()
    _, skipped = dataset.splits_at(result.winner.preprocessing.size, seed=seed)
    return FinetuneReport(card, result, folder, skipped, seen=dataset.seen_decoded)


def versions() -> list[str]:
    """Return those of which the weights that come out depend."""
    return [version("nns"), version("torch"), version("timm")]


def input_sizes(
    networks: Sequence[Network], dataset: Dataset, recipe: Recipe, seconds: float | None = None, seed: int = 0
) -> dict[str, int]:
    """Choose the side of each network's input, by id; ``seconds`` are for all of them."""
    classes, side = len(dataset.classes), dataset.shorter_side()
    device = resolve_device(recipe.device)
    images = 0 if seconds is None else len(dataset.planned_splits(seed=seed)["train"])
    sizes = {}
    for network in networks:
        within = None if seconds is None else epochs_within(network, classes, images, seconds / len(networks), device)
        wanted = input_size(network.entry.preprocessing.size, side, within)
        # an architecture may take no other size than its own
        sizes[network.id] = network.backend.preprocessing(network.spec, wanted).size
    return sizes


def hand_over(
    output: str | os.PathLike[str],
    zoo: Zoo,
    result: LadderResult,
    entry: NetworkEntry,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    cost: NetworkCost | None = None,
) -> tuple[Card, Path]:
    """Write the winner of a ladder to a folder, with its card; ``cost`` is the entry's own unless given.

    Raises:
        UsageError: If the folder is taken.
    """
    card = make_card(
        result,
        entry,
        classes=dataset.classes,
        dataset=dataset.name,
        dataset_digest=dataset.digest,
        zoo_digest=zoo.store.digest(),
        recipe=recipe,
        seed=seed,
        cost=cost,
        rendering=dataset.used_rendering,
        unreadable=dataset.unread_contents,
    )
    return card, write_handover(output, result.module, card) if world().first else Path(output)


def export_network(zoo: Zoo, network: str, output: str | os.PathLike[str]) -> tuple[NetworkEntry, Path]:
    """Write a network of a zoo, untouched, to a folder that ``nns predict`` and ``nns export`` read.

    Raises:
        UnknownNameError: If there is no such network.
        UsageError: If the folder is taken.
        ZooError: If its weights are damaged.
    """
    check_target(output)
    found = zoo.network(network)
    entry, module = found.entry, found.load()
    as_it_is = LadderResult(
        winner=Entrant(entry.id, entry.spec.name, lambda: module, entry.preprocessing),
        module=module,
        val_accuracy=entry.accuracy,
        test_accuracy=None,
        epochs=0,
        seconds=0.0,
        device="cpu",
        history=(),
        tried=(),
        interrupted=False,
    )
    card = make_card(
        as_it_is,
        entry,
        classes=entry.classes,
        dataset=entry.source_dataset,
        dataset_digest=entry.source_digest,
        zoo_digest=zoo.store.digest(),
        recipe=Recipe(epochs=1),
    )
    return entry, write_handover(output, module, card)
