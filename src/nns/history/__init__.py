"""The user's own history: what fine-tunings taught, in a file of the user's own, and what it says of the next search.

Features of datasets and results of networks; no images, no paths, no names of files or classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.history.file import History, Merged, history_path, own_history
    from nns.history.records import FineTuning, KnownDataset, KnownResult
    from nns.history.scoring import OwnResults, own_results

_HOMES = homes(
    {
        "file": "History Merged history_path own_history",
        "records": "FineTuning KnownDataset KnownResult",
        "scoring": "OwnResults own_results",
    }
)

__all__ = [
    "FineTuning",
    "History",
    "KnownDataset",
    "KnownResult",
    "Merged",
    "OwnResults",
    "history_path",
    "own_history",
    "own_results",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
