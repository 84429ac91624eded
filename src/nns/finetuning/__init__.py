"""Fine-tuning: from candidate networks to one that is trained on the user's images and handed over.

Everything is loaded at first use: importing this package imports neither torch nor timm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import lazy_names

if TYPE_CHECKING:
    from nns.finetuning._run import Epoch
    from nns.finetuning.card import Card, card_json, make_card
    from nns.finetuning.exporting import Exported, export
    from nns.finetuning.handover import FineTuned, check_target, load_handover, read_card, write_handover
    from nns.finetuning.ladder import Entrant, LadderEvent, LadderResult, Tried, climb
    from nns.finetuning.predicting import Prediction, predict
    from nns.finetuning.recipe import Recipe, named_recipe
    from nns.finetuning.training import TrainingResult, evaluate, resolve_device, train

_HOMES = {
    "Entrant": "ladder",
    "Card": "card",
    "Epoch": "training",
    "Exported": "exporting",
    "FineTuned": "handover",
    "LadderEvent": "ladder",
    "LadderResult": "ladder",
    "Prediction": "predicting",
    "Recipe": "recipe",
    "TrainingResult": "training",
    "Tried": "ladder",
    "card_json": "card",
    "check_target": "handover",
    "climb": "ladder",
    "evaluate": "training",
    "export": "exporting",
    "load_handover": "handover",
    "make_card": "card",
    "named_recipe": "recipe",
    "predict": "predicting",
    "read_card": "handover",
    "resolve_device": "training",
    "train": "training",
    "write_handover": "handover",
}

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


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
