"""Fine-tuning: from candidate networks to one that is trained on the user's images and handed over.

Everything is loaded at first use: importing this package imports neither torch nor timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.finetuning.card import Card, card_json, make_card
    from nns.finetuning.epochs import Epoch
    from nns.finetuning.exporting import Exported, export
    from nns.finetuning.handover import FineTuned, check_target, load_handover, read_card, write_handover
    from nns.finetuning.ladder import Entrant, LadderEvent, LadderResult, Tried, climb
    from nns.finetuning.predicting import Prediction, predict
    from nns.finetuning.recipe import Recipe, named_recipe
    from nns.finetuning.training import TrainingResult, evaluate, resolve_device, train

_HOMES = homes(
    {
        "card": "Card card_json make_card",
        "exporting": "Exported export",
        "handover": "FineTuned check_target load_handover read_card write_handover",
        "ladder": "Entrant LadderEvent LadderResult Tried climb",
        "predicting": "Prediction predict",
        "recipe": "Recipe named_recipe",
        "training": "Epoch TrainingResult evaluate resolve_device train",
    }
)

__all__ = [
    "Card",
    "Entrant",
    "Epoch",
    "Exported",
    "FineTuned",
    "LadderEvent",
    "LadderResult",
    "Prediction",
    "Recipe",
    "TrainingResult",
    "Tried",
    "card_json",
    "check_target",
    "climb",
    "evaluate",
    "export",
    "load_handover",
    "make_card",
    "named_recipe",
    "predict",
    "read_card",
    "resolve_device",
    "train",
    "write_handover",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
