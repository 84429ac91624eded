"""What a fine-tuning came to: as JSON, as a table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.data import Skipped
from nns.finetuning._climber import LadderResult
from nns.finetuning.card import Card
from nns.quantities import counted, format_count, format_seconds
from nns.tables import Table, finite

if TYPE_CHECKING:
    from nns.data.seen import Seen
    from nns.searching import Candidate


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
