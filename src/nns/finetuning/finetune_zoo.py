"""Fine-tuning networks of a zoo on a dataset, and handing over the best."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.data import Dataset
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
from nns.finetuning.report import FinetuneReport
from nns.finetuning.sizing import epochs_within, input_size
from nns.finetuning.teaching import TEACHER_SHARE, Unlabelled, fine_tune_teacher
from nns.networks import Network, count_cost
from nns.types import NetworkCost, NetworkEntry, Preprocessing, SplitArrays

if TYPE_CHECKING:
    from torch import nn

    from nns.zoo import Zoo


HANDOVER_SECONDS = 0.5
"""Of a budget, for writing what is handed over and leaving."""
PROBED_BEFORE_TRAINING = 5
"""Best of those on this disk that a fine-tuning looks at before it chooses; more choose no better (docs/results.md)."""
LEAST_SECONDS = 0.1
"""Of training, however late it is."""


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
