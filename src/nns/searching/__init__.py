"""Retrieval: from a dataset and limits to ranked networks of a zoo."""

from nns.searching.measuring import latencies, load_network
from nns.searching.ranking import search
from nns.searching.results import Candidate, QueryDataset, SearchResult, SearchSeconds
from nns.searching.together import choose_together

__all__ = [
    "Candidate",
    "QueryDataset",
    "SearchResult",
    "SearchSeconds",
    "choose_together",
    "latencies",
    "load_network",
    "search",
]
