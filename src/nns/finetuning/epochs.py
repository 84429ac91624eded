"""What an epoch came to, and which is better."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. Losses are mean cross-entropies, the accuracy is top-1, 0..1.

    Where the classes are skewed, macro F1 on the validation split is what epochs and networks are chosen by; else None.
    The learning rate is that of the last step; images a second are those of the steps, which no two runs have alike.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float | None = None
    lr: float | None = None
    images_per_second: float | None = field(default=None, compare=False)


def rank(epoch: Epoch) -> tuple[float, float]:
    """Order epochs: by macro F1 if there is one, else accuracy, then by the lower loss; no number ranks last."""
    score = epoch.val_accuracy if epoch.val_macro_f1 is None else epoch.val_macro_f1
    return (
        -math.inf if math.isnan(score) else score,
        -math.inf if math.isnan(epoch.val_loss) else -epoch.val_loss,
    )
