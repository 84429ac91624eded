"""The search: from a dataset and limits to ranked networks of a zoo. Everything is loaded at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.searching.index import NetworkIndex
    from nns.searching.ranking import search
    from nns.searching.results import Candidate, QueryDataset, SearchResult, SearchSeconds
    from nns.searching.together import choose_together

_HOMES = homes(
    {
        "index": "NetworkIndex",
        "ranking": "search",
        "results": "Candidate QueryDataset SearchResult SearchSeconds",
        "together": "choose_together",
    }
)

__all__ = [
    "Candidate",
    "NetworkIndex",
    "QueryDataset",
    "SearchResult",
    "SearchSeconds",
    "choose_together",
    "search",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
