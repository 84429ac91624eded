"""The space: one embedding for datasets and networks, and a predictor of accuracy.

Everything is loaded at first use: importing this package imports neither numpy nor torch, and embedding or
scoring a query with a fitted method never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.space._base import SpaceMethod
    from nns.space._builtin import builtin_methods
    from nns.space._data import SpaceData, family_of, transfers_needed
    from nns.space._held_out import evaluate_held_out, held_out_folds
    from nns.space._scanning import score_rows
    from nns.space.metrics import paired_recall
    from nns.space.mixed import Mixed
    from nns.space.space import ScoreDetails, Scores, Space
    from nns.space.tans import Tans

_HOMES = homes(
    {
        "_base": "SpaceMethod",
        "_builtin": "builtin_methods",
        "_data": "SpaceData family_of transfers_needed",
        "_held_out": "evaluate_held_out held_out_folds",
        "_scanning": "score_rows",
        "metrics": "paired_recall",
        "mixed": "Mixed",
        "space": "ScoreDetails Scores Space",
        "tans": "Tans",
    }
)

__all__ = [
    "Mixed",
    "ScoreDetails",
    "Scores",
    "Space",
    "SpaceData",
    "SpaceMethod",
    "Tans",
    "builtin_methods",
    "evaluate_held_out",
    "family_of",
    "held_out_folds",
    "paired_recall",
    "score_rows",
    "transfers_needed",
]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
